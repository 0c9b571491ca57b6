//! Port 22 is exposed.
//!
//! ## Why
//! An SSH server in a container is one more thing to keep up and one more way in. `docker exec` gives a shell to those
//! who may have one.
//!
//! ## Bad
//! ```dockerfile
//! FROM debian:12
//! EXPOSE 22
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM debian:12
//! EXPOSE 8080
//! ```

use plimsoll_diagnostics::Severity;
use plimsoll_dockerfile::InstructionKind;

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("expose-ssh", Severity::Warning)
    .aliases(&["DS-0004", "CKV_DOCKER_1"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for step in view.steps() {
        let InstructionKind::Expose(ports) = step.effective() else {
            continue;
        };
        for port in ports
            .iter()
            .filter(|port| matches!(port.value.as_str(), "22" | "22/tcp"))
        {
            checker.report(
                Finding::new(
                    &view.source,
                    port.span,
                    "port 22 is exposed: a server for SSH in a container",
                )
                .help("use `exec` for a shell in the container"),
            );
        }
    }
}
