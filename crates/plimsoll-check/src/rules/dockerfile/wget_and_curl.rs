//! A stage uses both wget and curl.
//!
//! ## Why
//! One of them is enough, and the other is a program more to keep up.
//!
//! ## Bad
//! ```dockerfile
//! FROM debian:12
//! RUN wget -q https://example.com/a
//! RUN curl -fsSLO https://example.com/b
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM debian:12
//! RUN curl -fsSLO https://example.com/a
//! RUN curl -fsSLO https://example.com/b
//! ```

use plimsoll_diagnostics::Severity;

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

use super::runs::{RunStep, runs_of};

pub(super) const RULE: Rule = Rule::new("wget-and-curl", Severity::Warning)
    .aliases(&["DL4001", "DS-0014"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for stage in &view.stages {
        let used = |name: &'static str| {
            let mut all = runs_of(view, stage).flat_map(RunStep::commands);
            all.find(|ran| ran.command.program() == Some(name))
                .and_then(|ran| ran.command.program_word())
        };
        let (Some(wget), Some(curl)) = (used("wget"), used("curl")) else {
            continue;
        };
        let (first, second) = match wget.span.start < curl.span.start {
            true => (wget, curl),
            false => (curl, wget),
        };
        checker.report(
            Finding::new(&view.source, second.span, "the stage uses both `wget` and `curl`")
                .help("use one of them")
                .label(first.span, "the other one"),
        );
    }
}
