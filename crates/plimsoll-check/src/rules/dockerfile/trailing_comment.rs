//! A comment stands behind an instruction, and is part of it.
//!
//! ## Why
//! A Dockerfile has comments on lines of their own only. Behind an instruction, `#` and what follows are further
//! arguments: WORKDIR makes a folder called `/app # the code`, COPY copies to the last word of the comment. In RUN the
//! shell reads the line, and knows comments.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! WORKDIR /app # the code
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! # the code
//! WORKDIR /app
//! ```

use plimsoll_diagnostics::{Fix, Severity, Span};
use plimsoll_dockerfile::{Command, CopySource, InstructionKind};

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

use super::edits::insert_above;

pub(super) const RULE: Rule =
    Rule::new("trailing-comment", Severity::Error).checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for step in view.steps() {
        let looks = match step.kind() {
            InstructionKind::Run(_) | InstructionKind::Onbuild(_) | InstructionKind::Maintainer(_) => false,
            InstructionKind::Cmd(Command::Shell(text))
            | InstructionKind::Entrypoint(Command::Shell(text)) => text.value.starts_with('['),
            InstructionKind::Copy(copy) | InstructionKind::Add(copy) => !copy
                .sources
                .iter()
                .any(|one| matches!(one, CopySource::Heredoc(_))),
            InstructionKind::Healthcheck(_) | InstructionKind::Cmd(_) | InstructionKind::Entrypoint(_) => {
                false
            }
            _ => true,
        };
        let line = view.source.slice(step.span());
        if !looks || line.contains('\n') {
            continue;
        }
        let Some(at) = comment(line) else { continue };
        let start = step.span().start + at;
        let span = Span::new(
            start + line[at..].len() - line[at..].trim_start().len(),
            step.span().end,
        );
        let text = view.source.slice(span).to_owned();
        let fix = Fix::ask("put the comment above").delete(&view.source, Span::new(start, step.span().end));
        checker.report(
            Finding::new(&view.source, span, "this comment is part of the instruction")
                .help("put it on a line of its own")
                .fix(insert_above(fix, view, step.instruction, &text)),
        );
    }
}

/// Where ` #` stands outside of quotes.
fn comment(line: &str) -> Option<usize> {
    let mut quote = None;
    let mut blank = None;
    for (at, c) in line.char_indices() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => quote = Some(c),
            ('#', None) if blank.is_some() => return blank,
            _ => {}
        }
        blank = match c {
            ' ' | '\t' if quote.is_none() => blank.or(Some(at)),
            _ => None,
        };
    }
    None
}
