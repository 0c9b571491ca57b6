//! The protocol of EXPOSE is not in lower case.
//!
//! ## Why
//! `80/TCP` works, and is written back as `80/tcp`.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! EXPOSE 80/TCP
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! EXPOSE 80/tcp
//! ```

use plimsoll_diagnostics::{Fix, Severity};
use plimsoll_dockerfile::InstructionKind;

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("expose-case", Severity::Style)
    .aliases(&["ExposeProtoCasing"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for step in view.steps() {
        let InstructionKind::Expose(ports) = step.effective() else {
            continue;
        };
        for port in ports {
            let Some((number, protocol)) = port.value.split_once('/') else {
                continue;
            };
            let lower = protocol.to_lowercase();
            if lower != protocol && !protocol.contains('$') {
                checker.report(
                    Finding::new(
                        &view.source,
                        port.span,
                        format!("defined protocol `{protocol}` should be lowercase"),
                    )
                    .help(format!("write `{number}/{lower}`"))
                    .fix(Fix::safe("write it in lower case").replace(
                        &view.source,
                        port.span,
                        format!("{number}/{lower}"),
                    )),
                );
            }
        }
    }
}
