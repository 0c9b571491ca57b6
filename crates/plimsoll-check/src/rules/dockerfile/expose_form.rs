//! EXPOSE holds an address or a port of the host.
//!
//! ## Why
//! EXPOSE names ports of the container. Where they are published on the host is said when it is run: `-p
//! 127.0.0.1:80:8080`.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! EXPOSE 127.0.0.1:80:8080
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! EXPOSE 8080
//! ```

use plimsoll_diagnostics::Severity;
use plimsoll_dockerfile::InstructionKind;

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("expose-form", Severity::Warning)
    .aliases(&["ExposeInvalidFormat"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for step in view.steps() {
        let InstructionKind::Expose(ports) = step.effective() else {
            continue;
        };
        for port in ports
            .iter()
            .filter(|port| port.value.contains(':') && !port.value.contains('$'))
        {
            let message = format!(
                "EXPOSE should not define an IP address or host-port mapping, found `{}`",
                port.value
            );
            let container = port.value.rsplit(':').next().unwrap_or_default();
            checker.report(Finding::new(&view.source, port.span, message).help(format!(
                "write `{container}`, and publish it by `-p {}`",
                port.value
            )));
        }
    }
}
