//! A RUN changes the owner of what a COPY has brought, and so stores it twice.
//!
//! ## Why
//! A layer holds whole files: a changed owner means every file once more. `--chown` on the COPY costs nothing.
//!
//! ## Bad
//! ```dockerfile
//! FROM node:22
//! COPY dist /srv
//! RUN chown -R node:node /srv
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM node:22
//! COPY --chown=node:node dist /srv
//! ```

use plimsoll_diagnostics::{Fix, Severity};
use plimsoll_dockerfile::InstructionKind;

use crate::shell::ShellWord;
use crate::view::{DockerfileView, Stage, Step};
use crate::{Check, Checker, Finding, Rule};

use super::copies;
use super::edits::remove;
use super::runs::{RunStep, runs};

pub(super) const RULE: Rule =
    Rule::new("chown-duplicates-layer", Severity::Info).checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for run in runs(view) {
        let Some(stage) = run.step.stage else { continue };
        for ran in run
            .commands()
            .filter(|ran| ran.command.program() == Some("chown") && ran.command.always_runs())
        {
            let operands: Vec<&ShellWord> = ran.command.operands(&[]).collect();
            let [owner, paths @ ..] = operands.as_slice() else {
                continue;
            };
            let brought = copied_below(view, stage, run, paths);
            if brought.is_empty() || owner.text.starts_with("--") {
                continue;
            }
            let mut finding = Finding::new(
                &view.source,
                ran.command.span,
                "changing the owner stores the files a second time",
            )
            .help(format!("write `--chown={}` on the COPY", owner.text))
            .label(brought[0].instruction.keyword.span, "what it brings is changed");
            if let Some(fix) = chown(view, run, owner, paths, &brought) {
                finding = finding.fix(fix);
            }
            checker.report(finding);
        }
    }
}

/// The COPYs before the RUN that write below one of the paths, without an owner.
fn copied_below<'a>(
    view: &'a DockerfileView,
    stage: &'a Stage,
    run: RunStep<'_>,
    paths: &[&ShellWord],
) -> Vec<Step<'a>> {
    let Some(folder) = copies::workdir(view, run.step.at) else {
        return Vec::new();
    };
    let paths: Vec<String> = paths
        .iter()
        .filter(|path| path.is_literal())
        .map(|path| copies::join(&folder, &path.text))
        .collect();
    let earlier = view.steps_of(stage).filter(|step| step.at < run.step.at);
    let below = |step: &Step<'_>| {
        let (InstructionKind::Copy(copy) | InstructionKind::Add(copy)) = step.kind() else {
            return false;
        };
        let folder = copies::workdir(view, step.at).unwrap_or_else(|| "/".to_owned());
        let Some(destination) = view.expand(step.at, &copy.destination) else {
            return false;
        };
        let target = copies::join(&folder, &destination);
        let inside = |path: &String| {
            target == *path
                || target
                    .strip_prefix(path.trim_end_matches('/'))
                    .is_some_and(|rest| rest.starts_with('/'))
        };
        copy.chown.is_none() && target != "/" && paths.iter().any(inside)
    };
    earlier.filter(below).collect()
}

/// The owner on the COPYs, and the RUN taken away: where it does nothing else. It is certain only when the COPYs alone
/// make what is changed: a folder that WORKDIR or a RUN has made would keep its owner.
fn chown(
    view: &DockerfileView,
    run: RunStep<'_>,
    owner: &ShellWord,
    paths: &[&ShellWord],
    brought: &[Step<'_>],
) -> Option<Fix> {
    if run.script.commands.len() != 1
        || !owner.is_literal()
        || !run.run.heredocs.is_empty()
        || !matches!(run.step.kind(), InstructionKind::Run(_))
    {
        return None;
    }
    let stage = run.step.stage?;
    let first = brought.first()?.at;
    let folder = copies::workdir(view, run.step.at)?;
    let targets: Vec<String> = paths
        .iter()
        .map(|path| copies::join(&folder, &path.text))
        .collect();
    let makes = |step: Step<'_>| match step.kind() {
        InstructionKind::Run(_) => step.at > first,
        InstructionKind::Workdir(_) => {
            let made = copies::workdir(view, step.at + 1).unwrap_or_default();
            targets.iter().any(|target| made.starts_with(target.as_str()))
        }
        _ => false,
    };
    let others = view
        .chain(stage)
        .flat_map(|stage| view.steps_of(stage))
        .filter(|step| step.at < run.step.at);
    let certain = !others.into_iter().any(makes);
    let title = "set the owner while copying";
    let fix = if certain {
        Fix::safe(title)
    } else {
        Fix::ask(title)
    };
    let fix = remove(fix, view, run.step.instruction);
    let flag = format!(" --chown={}", owner.text);
    Some(brought.iter().fold(fix, |fix, copy| {
        fix.insert(&view.source, copy.instruction.keyword.span.end, flag.clone())
    }))
}
