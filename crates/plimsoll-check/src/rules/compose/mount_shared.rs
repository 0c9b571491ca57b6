//! What a service mounts appears on the host.
//!
//! ## Why
//! With `shared` propagation a mount that is made in the container is seen by the host and by others, and stays when the
//! container is gone. `rslave` passes mounts in one direction only, from the host.
//!
//! ## Bad
//! ```yaml
//! services:
//!   storage:
//!     image: example/storage:2
//!     volumes:
//!       - /mnt/data:/data:rshared
//! ```
//!
//! ## Good
//! ```yaml
//! services:
//!   storage:
//!     image: example/storage:2
//!     volumes:
//!       - /mnt/data:/data:rslave
//! ```

use plimsoll_diagnostics::Severity;

use super::service::services;
use crate::view::ComposeView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("mount-shared", Severity::Error)
    .aliases(&["CL-0017", "CIS-5.20"])
    .checks(&[Check::Compose(check)]);

fn check(view: &ComposeView, checker: &mut Checker<'_>) {
    for service in services(view) {
        for mount in service.mounts() {
            let propagation = mount
                .node
                .at(&["bind", "propagation"])
                .and_then(|node| node.as_text());
            if matches!(propagation, Some("shared" | "rshared")) {
                let message = format!(
                    "what service `{}` mounts below `{}` appears on the host",
                    service.name, mount.target
                );
                checker
                    .report(Finding::at(&mount.node.place, message).help("write `rslave`, or leave it out"));
            }
        }
    }
}
