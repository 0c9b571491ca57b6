//! The shell text of an instruction cannot be parsed.
//!
//! ## Why
//! A quote, `fi` or `done` is missing, or an operator has nothing behind it: the shell will say so in the middle of the
//! build. Rules about commands say nothing about such a text.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! RUN if [ -f /a ]; then rm /a
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! RUN if [ -f /a ]; then rm /a; fi
//! ```

use plimsoll_diagnostics::Severity;

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("shell-syntax", Severity::Warning)
    .aliases(&["SC1072", "SC1073"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for step in view.steps() {
        let Some(problem) = view.script(step.at).and_then(|script| script.problem.as_ref()) else {
            continue;
        };
        checker.report(Finding::new(
            &view.source,
            problem.span,
            format!("the shell cannot read this: {}", problem.message),
        ));
    }
}
