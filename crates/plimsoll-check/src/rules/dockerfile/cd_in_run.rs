//! A RUN changes the folder with `cd`, which lasts until its end only.
//!
//! ## Why
//! The next instruction starts where WORKDIR says. `WORKDIR` shows in the image, makes the folder and lasts. A `cd` in
//! parentheses, in a loop or in a function is taken to be meant.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! RUN cd /src && make
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! WORKDIR /src
//! RUN make
//! ```

use plimsoll_diagnostics::{Fix, Severity, Span};
use plimsoll_dockerfile::InstructionKind;

use crate::shell::{Joint, ShellCommand};
use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

use super::edits::insert_above;
use super::runs::{RunStep, runs};

pub(super) const RULE: Rule = Rule::new("cd-in-run", Severity::Warning)
    .aliases(&["DL3003", "DS-0013"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for run in runs(view) {
        let plain = |command: &&ShellCommand| {
            let place = command.place;
            !(place.subshell
                || place.looped
                || place.function
                || place.substitution
                || place.branch
                || place.nested)
                && command.program() == Some("cd")
                && command.args().first().is_some_and(|folder| folder.text != "-")
        };
        let Some(cd) = run.script.commands.iter().find(plain) else {
            continue;
        };
        let alone = run.script.commands.len() == 1;
        let message = match alone {
            true => "this `cd` has no effect: the next instruction starts where WORKDIR says",
            false => "`cd` lasts until the end of this RUN only",
        };
        let mut finding = Finding::new(&view.source, cd.span, message).help("write WORKDIR above");
        if let Some(fix) = workdir(view, run, cd).filter(|_| !alone) {
            finding = finding.fix(fix);
        }
        checker.report(finding);
    }
}

/// WORKDIR above, when the `cd` is what the RUN begins with.
fn workdir(view: &DockerfileView, run: RunStep<'_>, cd: &ShellCommand) -> Option<Fix> {
    let [first, second, ..] = run.script.commands.as_slice() else {
        return None;
    };
    let [folder] = cd.args() else { return None };
    let begins = first.span == cd.span
        && second.joint == Joint::And
        && second.list == first.list
        && run.run.heredocs.is_empty();
    let plain = folder.is_literal() && !folder.text.contains([' ', '~']) && folder.text.starts_with('/');
    if !begins || !plain || !matches!(run.step.kind(), InstructionKind::Run(_)) {
        return None;
    }
    let fix = Fix::ask("write WORKDIR").delete(&view.source, Span::new(cd.span.start, second.span.start));
    Some(insert_above(
        fix,
        view,
        run.step.instruction,
        &format!("WORKDIR {}", folder.text),
    ))
}
