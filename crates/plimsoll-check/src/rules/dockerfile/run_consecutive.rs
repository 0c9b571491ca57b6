//! A RUN follows another one directly, and each makes a layer of the image.
//!
//! ## Why
//! What one RUN writes and the next one deletes stays in the image, and every layer costs a little when it is pulled
//! and mounted. Only stages that ship are looked at: in a build stage, several RUNs make for a finer cache.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! RUN mkdir /data
//! RUN chmod 700 /data
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! RUN mkdir /data \
//!     && chmod 700 /data
//! ```

use plimsoll_diagnostics::{Fix, Severity, Span};
use plimsoll_dockerfile::InstructionKind;

use crate::shell::{Joint, ShellCommand};
use crate::view::{DockerfileView, Step};
use crate::{Check, Checker, Finding, Rule};

use super::edits::line_ending;

pub(super) const RULE: Rule = Rule::new("run-consecutive", Severity::Info)
    .aliases(&["DL3059"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    let mut looked: Vec<usize> = Vec::new();
    for stage in view.shipped().flat_map(|stage| view.chain(stage)) {
        if looked.contains(&stage.index) {
            continue;
        }
        looked.push(stage.index);
        let steps: Vec<Step<'_>> = view.steps_of(stage).collect();
        for pair in steps.windows(2) {
            let (InstructionKind::Run(before), InstructionKind::Run(run)) = (pair[0].kind(), pair[1].kind())
            else {
                continue;
            };
            let same = before.mounts.len() == run.mounts.len()
                && before.network.as_ref().map(|word| &word.value)
                    == run.network.as_ref().map(|word| &word.value)
                && before.security.as_ref().map(|word| &word.value)
                    == run.security.as_ref().map(|word| &word.value)
                && before
                    .mounts
                    .iter()
                    .zip(&run.mounts)
                    .all(|(a, b)| a.value == b.value);
            if !same || !before.heredocs.is_empty() || !run.heredocs.is_empty() {
                continue;
            }
            let mut finding = Finding::new(
                &view.source,
                pair[1].instruction.keyword.span,
                "this RUN could be part of the one before",
            )
            .help("join them with `&&`, or leave them apart where that makes the cache better")
            .label(pair[0].instruction.keyword.span, "the one before");
            if let Some(fix) = joined(view, pair[0], pair[1]) {
                finding = finding.fix(fix);
            }
            checker.report(finding);
        }
    }
}

/// Joins two RUNs, where that means the same but for the layer: the first changes nothing that the second would notice,
/// and the second is one chain.
fn joined(view: &DockerfileView, first: Step<'_>, second: Step<'_>) -> Option<Fix> {
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
    Some(Fix::ask("join the two").replace(
        &view.source,
        between,
        format!(" {escape}{ending}{comments}    && "),
    ))
}
