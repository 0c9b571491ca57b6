//! The log of a service grows until the disk is full.
//!
//! ## Why
//! The `json-file` driver keeps everything that a program prints, for ever, unless `max-size` says otherwise. A chatty service
//! fills the disk of the machine within days, and every other service stops with it. The `local` driver rotates by itself.
//!
//! ## Bad
//! ```yaml
//! services:
//!   web:
//!     image: nginx:1.29
//! ```
//!
//! ## Good
//! ```yaml
//! services:
//!   web:
//!     image: nginx:1.29
//!     logging:
//!       driver: json-file
//!       options:
//!         max-size: 10m
//!         max-file: "3"
//! ```

use plimsoll_diagnostics::{Fix, Severity};

use super::edit;
use super::service::{Service, services};
use crate::view::ComposeView;
use crate::{Check, Checker, Rule};

pub(super) const RULE: Rule =
    Rule::new("log-rotation-missing", Severity::Warning).checks(&[Check::Compose(check)]);

const OPTIONS: [&str; 3] = ["options:", "  max-size: 10m", "  max-file: \"3\""];

fn check(view: &ComposeView, checker: &mut Checker<'_>) {
    for service in services(view) {
        let driver = service
            .at(&["logging", "driver"])
            .and_then(|driver| driver.as_text());
        let is_limited = service.at(&["logging", "options", "max-size"]).is_some();
        if is_limited || driver.is_some_and(|driver| driver != "json-file") || view.for_development {
            continue;
        }
        let mut finding = service
            .finding(format!("the log of service `{}` has no limit", service.name))
            .help("set `max-size` and `max-file` under `logging: options:`");
        if let Some(fix) = fix(&service) {
            finding = finding.fix(fix);
        }
        checker.report(finding);
    }
}

fn fix(service: &Service<'_>) -> Option<Fix> {
    let fix = Fix::ask("limit the log");
    if let Some(options) = service.at(&["logging", "options"]) {
        return edit::append(fix, options, &["max-size: 10m", "max-file: \"3\""]);
    }
    if let Some(logging) = service.get("logging") {
        return edit::append(fix, logging, &OPTIONS);
    }
    let lines: Vec<String> = ["logging:".to_owned(), "  driver: json-file".to_owned()]
        .into_iter()
        .chain(OPTIONS.iter().map(|line| format!("  {line}")))
        .collect();
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    service.add(fix, &lines)
}
