//! Edits that several rules make.

use plimsoll_diagnostics::{Fix, Source, Span};
use plimsoll_dockerfile::{Instruction, InstructionKind};

use crate::shell::{Joint, ShellCommand, ShellWord};
use crate::view::{DockerfileView, Stage, Step};

use super::runs::{Ran, RunStep};

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

/// Puts an option behind a word of a command, in whichever form the command is.
pub(super) fn add_option(
    fix: Fix,
    view: &DockerfileView,
    ran: Ran<'_>,
    word: &ShellWord,
    option: &str,
) -> Fix {
    let is_json = ran.of.script.shell.is_none() && !ran.command.place.nested;
    let text = match is_json {
        true => format!(", \"{option}\""),
        false => format!(" {option}"),
    };
    fix.insert(&view.source, word.span.end, text)
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

/// Joins two RUNs, where that means the same but for the layer: the first changes nothing that the second would notice,
/// and the second is one chain.
pub(super) fn join_runs(fix: Fix, view: &DockerfileView, first: Step<'_>, second: Step<'_>) -> Option<Fix> {
    const LASTING: [&str; 9] = [
        "cd", "export", "set", ".", "source", "umask", "exec", "exit", "shopt",
    ];
    let (before, after) = (view.script(first.at)?, view.script(second.at)?);
    if before.shell.is_none() || after.shell.is_none() || before.problem.is_some() || after.problem.is_some()
    {
        return None;
    }
    let lasting = |command: &ShellCommand| {
        command.words.is_empty()
            || command.place.function
            || command.place.background
            || command.program().is_none_or(|program| LASTING.contains(&program))
    };
    let top = after.commands.first()?.list;
    let chain = after
        .commands
        .iter()
        .all(|command| command.list != top || command.joint != Joint::Next);
    let before_top = before.commands.first()?.list;
    let or = before
        .commands
        .iter()
        .any(|command| command.list == before_top && command.joint == Joint::Next);
    let comments = view.source.slice(before.span).contains(" #");
    if before.commands.iter().any(lasting) || !chain || or || comments {
        return None;
    }
    let between = Span::new(first.span().end, after.span.start);
    let text = view
        .source
        .slice(Span::new(first.span().end, second.span().start));
    let ending = line_ending(&view.source);
    let kept: Vec<&str> = text
        .lines()
        .filter(|line| line.trim_start().starts_with('#'))
        .collect();
    let escape = view.dockerfile.directives.escape;
    let comments: String = kept.iter().map(|line| format!("{line}{ending}")).collect();
    Some(fix.replace(
        &view.source,
        between,
        format!(" {escape}{ending}{comments}    && "),
    ))
}

/// Puts lines at the end of a stage, above the CMD and ENTRYPOINT that it ends with.
pub(super) fn insert_near_end(fix: Fix, view: &DockerfileView, stage: &Stage, lines: &str) -> Fix {
    let ending = line_ending(&view.source);
    let lines = lines.replace('\n', ending);
    let steps: Vec<Step<'_>> = view.steps_of(stage).collect();
    let says = |step: &&Step<'_>| {
        matches!(
            step.kind(),
            InstructionKind::Cmd(_)
                | InstructionKind::Entrypoint(_)
                | InstructionKind::Healthcheck(_)
                | InstructionKind::Expose(_)
                | InstructionKind::Stopsignal(_)
                | InstructionKind::Label(_)
        )
    };
    let tail = steps.iter().rev().take_while(says).count();
    let ends = &steps[steps.len() - tail..];
    let starts = |step: &&Step<'_>| {
        matches!(
            step.kind(),
            InstructionKind::Cmd(_) | InstructionKind::Entrypoint(_)
        )
    };
    if let Some(first) = ends.iter().find(starts) {
        return insert_above(fix, view, first.instruction, &lines);
    }
    let last = steps
        .last()
        .map_or(view.step(stage.from).span(), |step| step.span());
    let end = lines_of(&view.source, last).end;
    let text = match view.source.text[..end].ends_with('\n') {
        true => format!("{lines}{ending}"),
        false => format!("{ending}{lines}"),
    };
    fix.insert(&view.source, end, text)
}
