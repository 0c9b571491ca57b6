//! Nothing of what a service prints is kept.
//!
//! ## Why
//! With the driver `none` there is no log to look at after an incident, and `logs` shows nothing.
//!
//! ## Bad
//! ```yaml
//! services:
//!   web:
//!     image: nginx:1.29
//!     logging:
//!       driver: none
//! ```
//!
//! ## Good
//! ```yaml
//! services:
//!   web:
//!     image: nginx:1.29
//!     logging:
//!       driver: local
//! ```

use plimsoll_diagnostics::Severity;

use super::service::services;
use crate::view::ComposeView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("logging-off", Severity::Warning)
    .aliases(&["CL-0014"])
    .checks(&[Check::Compose(check)]);

fn check(view: &ComposeView, checker: &mut Checker<'_>) {
    for service in services(view) {
        let driver = service.at(&["logging", "driver"]);
        if let Some(node) = driver.filter(|driver| driver.as_text() == Some("none")) {
            let message = format!("nothing that service `{}` prints is kept", service.name);
            checker.report(Finding::at(&node.place, message).help("use `local`, which rotates by itself"));
        }
    }
}
