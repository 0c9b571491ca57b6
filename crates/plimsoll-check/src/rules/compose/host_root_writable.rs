//! A service has the whole file system of the host.
//!
//! ## Why
//! Whoever can write to `/` of the host owns the host: a line in `/etc/crontab` is enough. Read-only it still shows every
//! secret of the machine.
//!
//! ## Bad
//! ```yaml
//! services:
//!   agent:
//!     image: example/agent:3
//!     volumes:
//!       - /:/host
//! ```
//!
//! ## Good
//! ```yaml
//! services:
//!   agent:
//!     image: example/agent:3
//!     volumes:
//!       - /var/log:/host/var/log:ro
//! ```

use plimsoll_diagnostics::Severity;

use super::service::services;
use crate::view::ComposeView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("host-root-writable", Severity::Error)
    .aliases(&["CL-0025"])
    .checks(&[Check::Compose(check)]);

fn check(view: &ComposeView, checker: &mut Checker<'_>) {
    for service in services(view) {
        for mount in service.mounts() {
            if mount.kind != "bind" || mount.source != "/" {
                continue;
            }
            let how = if mount.read_only { "read" } else { "change" };
            let message = format!("service `{}` can {how} every file of the host", service.name);
            let mut finding =
                Finding::at(&mount.node.place, message).help("mount the folders that it needs, `:ro`");
            if mount.read_only {
                finding = finding.severity(Severity::Warning);
            }
            checker.report(finding);
        }
    }
}
