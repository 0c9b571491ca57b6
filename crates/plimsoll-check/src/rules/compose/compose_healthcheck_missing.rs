//! Nothing says how to see that a service is well.
//!
//! ## Why
//! Without a health check a database counts as ready when its process exists, and a web server that hangs is never noticed.
//! Others can wait for a service that is checked (`condition: service_healthy`). Images that bring a check of their own are
//! left alone, when they are at hand.
//!
//! ## Bad
//! ```yaml
//! services:
//!   db:
//!     image: postgres:17
//! ```
//!
//! ## Good
//! ```yaml
//! services:
//!   db:
//!     image: postgres:17
//!     healthcheck:
//!       test: ["CMD-SHELL", "pg_isready -U \"$${POSTGRES_USER:-postgres}\""]
//!       interval: 10s
//!       timeout: 5s
//!       retries: 5
//! ```

use plimsoll_diagnostics::{Fix, Severity};

use super::service::{Service, services};
use crate::view::ComposeView;
use crate::{Check, Checker, Rule};

pub(super) const RULE: Rule = Rule::new("compose-healthcheck-missing", Severity::Info)
    .aliases(&["CIS-5.27"])
    .checks(&[Check::Compose(check)]);

fn check(view: &ComposeView, checker: &mut Checker<'_>) {
    for service in services(view) {
        if service.healthcheck().is_some() || service.get("healthcheck").is_some() || service.is_one_shot() {
            continue;
        }
        if super::health::of_image(view, &service, checker.workspace()) == Some(true) {
            continue;
        }
        let mut finding = service
            .finding(format!("service `{}` has no health check", service.name))
            .help("add `healthcheck:` with a `test:` that its image has the program for");
        if let Some(fix) = fix(&service) {
            finding = finding.fix(fix);
        }
        checker.report(finding);
    }
}

fn fix(service: &Service<'_>) -> Option<Fix> {
    let probe = service.software()?.probe?;
    let test = format!("  test: [\"CMD-SHELL\", \"{probe}\"]");
    let lines = [
        "healthcheck:",
        &test,
        "  interval: 10s",
        "  timeout: 5s",
        "  retries: 5",
    ];
    service.add(Fix::ask("add a health check"), &lines)
}
