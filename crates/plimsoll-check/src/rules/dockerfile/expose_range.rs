//! EXPOSE names a port that does not exist.
//!
//! ## Why
//! Ports go from 1 to 65535.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! EXPOSE 80000
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! EXPOSE 8000
//! ```

use plimsoll_diagnostics::Severity;
use plimsoll_dockerfile::InstructionKind;

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("expose-range", Severity::Error)
    .aliases(&["DL3011", "DS-0008"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for step in view.steps() {
        let InstructionKind::Expose(ports) = step.effective() else {
            continue;
        };
        for port in ports.iter().filter(|port| !port.value.contains([':', '$'])) {
            let numbers = port.value.split('/').next().unwrap_or_default();
            let outside = |number: &str| {
                let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
                digits
                    && number
                        .parse::<u32>()
                        .map_or(true, |number| number == 0 || number > 65_535)
            };
            if numbers.split('-').any(outside) {
                let message = format!("port `{numbers}` is not between 1 and 65535");
                checker.report(Finding::new(&view.source, port.span, message));
            }
        }
    }
}
