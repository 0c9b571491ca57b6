//! An empty line stands in the midst of an instruction.
//!
//! ## Why
//! A line that ends with a backslash goes on in the next one; when that is empty it is skipped today and will end the
//! instruction one day.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! RUN apk add --no-cache \
//!
//!     curl
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! RUN apk add --no-cache \
//!     curl
//! ```

use plimsoll_diagnostics::{Fix, Severity, Span};
use plimsoll_dockerfile::InstructionKind;

use crate::view::{DockerfileView, Step};
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("empty-continuation", Severity::Warning)
    .aliases(&["NoEmptyContinuation"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for warning in view.warnings("empty-continuation") {
        let Some(span) = warning.span() else { continue };
        let mut finding = Finding::new(
            &view.source,
            span,
            "this empty line is in the midst of an instruction",
        )
        .help("remove it, or put a `#` there");
        if let Some(step) = view
            .steps()
            .find(|step| step.span().start < span.start && span.start < step.span().end)
        {
            finding = finding.fix(without_empty_lines(view, step));
        }
        checker.report(finding);
    }
}

fn without_empty_lines(view: &DockerfileView, step: Step<'_>) -> Fix {
    let documents = match step.effective() {
        InstructionKind::Run(run) => run.heredocs.iter().map(|heredoc| heredoc.body.span.start).min(),
        _ => None,
    };
    let end = documents.unwrap_or(step.span().end);
    let mut fix = Fix::safe("remove the empty lines");
    let mut start = step.span().start;
    for line in view.source.slice(Span::new(start, end)).split_inclusive('\n') {
        if line.trim().is_empty() {
            fix = fix.delete(&view.source, Span::new(start, start + line.len()));
        }
        start += line.len();
    }
    fix
}
