//! Edits that several rules make.

use plimsoll_diagnostics::{Fix, Source, Span};
use plimsoll_dockerfile::Instruction;

use crate::shell::{Joint, ShellCommand};
use crate::view::DockerfileView;

use super::runs::RunStep;

/// Takes a whole instruction away, its lines with it.
pub(super) fn remove(fix: Fix, view: &DockerfileView, instruction: &Instruction) -> Fix {
    fix.delete(&view.source, lines_of(&view.source, instruction.span))
}

/// The whole lines of a span, the last line's ending included.
pub(super) fn lines_of(source: &Source, span: Span) -> Span {
    let start = source.line_at(span.start).start;
    let end = source.line_at(span.end).end;
    let rest = &source.text[end..];
    let ending = ["\r\n", "\n"].into_iter().find(|ending| rest.starts_with(ending));
    Span::new(start, end + ending.map_or(0, str::len))
}

/// Puts lines above an instruction.
pub(super) fn insert_above(fix: Fix, view: &DockerfileView, instruction: &Instruction, lines: &str) -> Fix {
    let start = view.source.line_at(instruction.span.start).start;
    fix.insert(
        &view.source,
        start,
        format!("{lines}{}", line_ending(&view.source)),
    )
}

/// The line ending that a file uses.
pub(super) fn line_ending(source: &Source) -> &'static str {
    match source.text.contains("\r\n") {
        true => "\r\n",
        false => "\n",
    }
}

/// Runs a further command right after one: none where it is not certain that both then run.
///
/// In a chain it is joined by `&&`. Where the shell stops at failures a `;` is needed: it does not stop at those left of
/// `&&`.
pub(super) fn run_after(
    fix: Fix,
    view: &DockerfileView,
    run: RunStep<'_>,
    command: &ShellCommand,
    text: &str,
) -> Option<Fix> {
    let place = command.place;
    let same = |other: &ShellCommand| other.pipeline.id == command.pipeline.id;
    if !command.always_runs()
        || place.nested
        || place.background
        || place.negated
        || place.rescued
        || run.script.shell.is_none()
    {
        return None;
    }
    let chained = command.joint == Joint::And || place.watched;
    let stops = run.script.stops_at_failures(command);
    let joint = if !chained && stops { ";" } else { " &&" };
    let last = run
        .script
        .commands
        .iter()
        .filter(|other| same(other))
        .map(|other| other.span.end)
        .max();
    let end = command.pipeline.span.end.max(last.unwrap_or_default());
    Some(fix.insert(&view.source, end, format!("{joint} {text}")))
}
