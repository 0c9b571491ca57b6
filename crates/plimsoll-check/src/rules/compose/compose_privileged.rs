//! A service has all the rights of the host.
//!
//! ## Why
//! `privileged: true` switches off what keeps a container apart: every capability, every device, no system call filter.
//! Whoever breaks into the program owns the machine.
//!
//! ## Bad
//! ```yaml
//! services:
//!   web:
//!     image: nginx:1.29
//!     privileged: true
//! ```
//!
//! ## Good
//! ```yaml
//! services:
//!   web:
//!     image: nginx:1.29
//!     cap_add: [NET_ADMIN]
//! ```

use plimsoll_compose_file::Node;
use plimsoll_diagnostics::Severity;

use crate::view::ComposeView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("compose-privileged", Severity::Error)
    .aliases(&["CL-0002", "CIS-5.5"])
    .checks(&[Check::Compose(check)]);

fn check(view: &ComposeView, checker: &mut Checker<'_>) {
    for service in view.services() {
        if let Some(node) = service.value.get("privileged").filter(|node| Node::is_true(node)) {
            let message = format!("service `{}` is privileged", service.key);
            checker.report(
                Finding::at(&node.place, message)
                    .help("name the capabilities or devices that it needs: `cap_add:`, `devices:`"),
            );
        }
    }
}
