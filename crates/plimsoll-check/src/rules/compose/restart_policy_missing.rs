//! A service that ends stays ended.
//!
//! ## Why
//! Without `restart:` a crash at night or a reboot of the machine takes the service away until somebody looks. Services that
//! others wait for to complete are meant to end and are left alone.
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
//!     restart: unless-stopped
//! ```

use plimsoll_diagnostics::{Fix, Severity};

use super::service::services;
use crate::view::ComposeView;
use crate::{Check, Checker, Rule};

pub(super) const RULE: Rule = Rule::new("restart-policy-missing", Severity::Warning)
    .aliases(&["CIS-5.15"])
    .checks(&[Check::Compose(check)]);

fn check(view: &ComposeView, checker: &mut Checker<'_>) {
    for service in services(view) {
        let has_policy =
            service.get("restart").is_some() || service.at(&["deploy", "restart_policy"]).is_some();
        if has_policy || view.for_development || service.is_one_shot() {
            continue;
        }
        let mut finding = service
            .finding(format!(
                "service `{}` is not started again when it ends",
                service.name
            ))
            .help("add `restart: unless-stopped`, or `restart: \"no\"` for what is meant to end");
        if let Some(fix) = service.add(Fix::ask("start it again"), &["restart: unless-stopped"]) {
            finding = finding.fix(fix);
        }
        checker.report(finding);
    }
}
