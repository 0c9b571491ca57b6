//! A service is on the network of the host.
//!
//! ## Why
//! With `network_mode: host` a service reaches everything that listens on `127.0.0.1` of the machine, sees all its traffic,
//! and opens ports that nobody published.
//!
//! ## Bad
//! ```yaml
//! services:
//!   web:
//!     image: nginx:1.29
//!     network_mode: host
//! ```
//!
//! ## Good
//! ```yaml
//! services:
//!   web:
//!     image: nginx:1.29
//!     ports:
//!       - "127.0.0.1:8080:80"
//! ```

use plimsoll_diagnostics::Severity;

use super::service::services;
use crate::view::ComposeView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("host-network", Severity::Error)
    .aliases(&["CL-0008", "CIS-5.10"])
    .checks(&[Check::Compose(check)]);

fn check(view: &ComposeView, checker: &mut Checker<'_>) {
    for service in services(view) {
        let mode = service.get("network_mode");
        if let Some(node) = mode.filter(|mode| mode.as_text() == Some("host")) {
            let message = format!("service `{}` is on the network of the host", service.name);
            checker.report(
                Finding::at(&node.place, message).help("publish the ports that it needs with `ports:`"),
            );
        }
    }
}
