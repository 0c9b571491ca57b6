//! `AS` is not in the case of its FROM.
//!
//! ## Why
//! It reads better when both keywords of the line look alike.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22 as build
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22 AS build
//! ```

use plimsoll_diagnostics::{Fix, Severity, Span};

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("from-as-case", Severity::Style)
    .aliases(&["FromAsCasing"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for stage in &view.stages {
        let Some(name) = &stage.name else { continue };
        let from = &view.step(stage.from).instruction.keyword.value;
        let between = Span::new(view.from(stage).image.span.end, name.span.start);
        let text = view.source.slice(between);
        let Some(at) = text.to_ascii_lowercase().rfind("as") else {
            continue;
        };
        let span = Span::new(between.start + at, between.start + at + 2);
        let wanted = match from.chars().all(char::is_lowercase) {
            true => "as",
            false => "AS",
        };
        let written = view.source.slice(span);
        if written != wanted {
            checker.report(
                Finding::new(
                    &view.source,
                    span,
                    format!("the casing of `{written}` and `{from}` does not match"),
                )
                .help(format!("write `{wanted}`"))
                .fix(Fix::safe("match the case").replace(&view.source, span, wanted)),
            );
        }
    }
}
