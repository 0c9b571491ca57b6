//! The comment above a stage or argument does not begin with its name.
//!
//! ## Why
//! `docker build --call=outline` shows the comment directly above an ARG or a named stage as its description when it
//! begins with the name. Looked at only when asked for, as in BuildKit.
//!
//! ## Bad
//! ```dockerfile
//! # The base image.
//! ARG BASE=alpine:3.22
//! FROM $BASE
//! ```
//!
//! ## Good
//! ```dockerfile
//! # BASE is the base image.
//! ARG BASE=alpine:3.22
//! FROM $BASE
//! ```

use plimsoll_diagnostics::{Severity, Span};
use plimsoll_dockerfile::InstructionKind;

use crate::view::{DockerfileView, Step};
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("definition-comment", Severity::Style)
    .aliases(&["InvalidDefinitionDescription"])
    .off()
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for step in view.steps() {
        let name = match step.kind() {
            InstructionKind::Arg(declarations) if declarations.len() == 1 => &declarations[0].name.value,
            InstructionKind::From(from) => match &from.name {
                Some(name) => &name.value,
                None => continue,
            },
            _ => continue,
        };
        let Some((span, text)) = comment_above(view, step) else {
            continue;
        };
        let directive = view
            .dockerfile
            .directives
            .check
            .iter()
            .chain(&view.dockerfile.directives.syntax);
        if text.split_whitespace().next() == Some(name)
            || directive
                .into_iter()
                .any(|word| span.start <= word.span.start && word.span.end <= span.end)
        {
            continue;
        }
        let what = match step.kind() {
            InstructionKind::Arg(_) => "argument",
            _ => "build stage",
        };
        checker.report(
            Finding::new(
                &view.source,
                span,
                format!("comment for {what} should follow the format: `# {name} <description>`"),
            )
            .help("where it is no description, put an empty line between the comment and the instruction"),
        );
    }
}

/// The last comment line directly above.
fn comment_above(view: &DockerfileView, step: Step<'_>) -> Option<(Span, String)> {
    let line = view.source.line_at(step.span().start);
    let above = view.source.line_at(line.start.checked_sub(1)?);
    let mut first = above;
    let is_comment = |span: Span| view.source.slice(span).trim_start().starts_with('#');
    if !is_comment(above) {
        return None;
    }
    while let Some(end) = first.start.checked_sub(1) {
        let higher = view.source.line_at(end);
        if !is_comment(higher) {
            break;
        }
        first = higher;
    }
    let text = view
        .source
        .slice(first)
        .trim_start()
        .trim_start_matches('#')
        .trim();
    Some((first, text.to_owned()))
}
