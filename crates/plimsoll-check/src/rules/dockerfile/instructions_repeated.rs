//! CMD, ENTRYPOINT or HEALTHCHECK is there twice in a stage.
//!
//! ## Why
//! Only the last one counts. The others look as if they did something.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! CMD ["one"]
//! CMD ["two"]
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! CMD ["two"]
//! ```

use plimsoll_diagnostics::{Fix, Severity};
use plimsoll_dockerfile::InstructionKind;

use crate::view::{DockerfileView, Step};
use crate::{Check, Checker, Finding, Rule};

use super::edits::remove;

pub(super) const RULE: Rule = Rule::new("instructions-repeated", Severity::Warning)
    .aliases(&[
        "DL4003",
        "DL4004",
        "DL3012",
        "MultipleInstructionsDisallowed",
        "DS-0007",
        "DS-0016",
        "DS-0023",
    ])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for stage in &view.stages {
        let mut last: Vec<(&'static str, Step<'_>)> = Vec::new();
        for step in view.steps_of(stage).rev() {
            let name = match step.kind() {
                InstructionKind::Cmd(_) => "CMD",
                InstructionKind::Entrypoint(_) => "ENTRYPOINT",
                InstructionKind::Healthcheck(_) => "HEALTHCHECK",
                _ => continue,
            };
            let Some((_, counts)) = last.iter().find(|(other, _)| *other == name) else {
                last.push((name, step));
                continue;
            };
            let message = format!("{name} is there again below, and only the last one counts");
            checker.report(
                Finding::new(&view.source, step.instruction.keyword.span, message)
                    .help("remove it")
                    .label(counts.instruction.keyword.span, "this one counts")
                    .fix(remove(Fix::safe("remove it"), view, step.instruction)),
            );
        }
    }
}
