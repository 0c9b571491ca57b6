//! A service shares a namespace with the host.
//!
//! ## Why
//! `pid: host` shows every process of the machine and lets root in the container signal them; `ipc: host` shares memory with
//! them; `uts: host` lets it rename the machine; `userns_mode: host` makes its root the real one; `cgroup: host` shows the
//! groups of all.
//!
//! ## Bad
//! ```yaml
//! services:
//!   agent:
//!     image: example/agent:3
//!     pid: host
//! ```
//!
//! ## Good
//! ```yaml
//! services:
//!   agent:
//!     image: example/agent:3
//! ```

use plimsoll_diagnostics::Severity;

use super::service::services;
use crate::view::ComposeView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("host-namespace", Severity::Error)
    .aliases(&["CL-0010", "CIS-5.16", "CIS-5.17", "CIS-5.21", "CIS-5.31"])
    .checks(&[Check::Compose(check)]);

const KEYS: [(&str, &str); 5] = [
    ("pid", "the processes"),
    ("ipc", "the shared memory"),
    ("uts", "the host name"),
    ("userns_mode", "the users"),
    ("cgroup", "the control groups"),
];

fn check(view: &ComposeView, checker: &mut Checker<'_>) {
    for service in services(view) {
        for (key, what) in KEYS {
            let Some(node) = service.get(key).filter(|mode| mode.as_text() == Some("host")) else {
                continue;
            };
            let message = format!("service `{}` shares {what} of the host", service.name);
            checker.report(Finding::at(&node.place, message).help(format!("leave `{key}: host` out")));
        }
    }
}
