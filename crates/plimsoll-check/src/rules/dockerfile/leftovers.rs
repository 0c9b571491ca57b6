//! What the rules about caches of package managers have in common.

use plimsoll_diagnostics::Fix;

use crate::view::DockerfileView;
use crate::{Checker, Finding};

use super::edits::run_after;
use super::packages::Manager;
use super::runs::{RunStep, runs_of};

/// Reports RUNs of stages that ship in which a package manager installs and nobody cleans up.
pub(super) fn report(
    view: &DockerfileView,
    checker: &mut Checker<'_>,
    manager: &Manager,
    verbs: &[&str],
    cache: &str,
    cleans: &[&str],
) {
    let mut looked: Vec<usize> = Vec::new();
    for stage in view.shipped().flat_map(|stage| view.chain(stage)) {
        if looked.contains(&stage.index) {
            continue;
        }
        looked.push(stage.index);
        for run in runs_of(view, stage) {
            look(view, checker, run, manager, verbs, cache, cleans);
        }
    }
}

fn look(
    view: &DockerfileView,
    checker: &mut Checker<'_>,
    run: RunStep<'_>,
    manager: &Manager,
    verbs: &[&str],
    cache: &str,
    cleans: &[&str],
) {
    let last = run
        .commands()
        .filter_map(|ran| Some((ran, manager.call(ran.command, verbs)?)))
        .last();
    let Some((ran, call)) = last else { return };
    let removed = run.commands().any(|other| {
        let deletes = other.command.program() == Some("rm")
            && other
                .command
                .args()
                .iter()
                .any(|word| word.text.starts_with(cache) || word.text.starts_with("/var/cache/*"));
        let cleaned = manager.call(other.command, cleans).is_some();
        other.command.span.start > ran.command.span.start && (deletes || cleaned)
    });
    if removed || run.is_mounted(cache) {
        return;
    }
    let program = ran.command.program().unwrap_or_default();
    let clean = match cleans.contains(&"cc") {
        true => format!("{program} clean"),
        false => format!("{program} clean all"),
    };
    let finding = Finding::new(
        &view.source,
        call.verb.span,
        format!("the cache of {program} stays in the layer"),
    )
    .help(format!("end the RUN with `{clean}`"));
    checker.report(
        match run_after(Fix::safe("clean the cache"), view, run, ran.command, &clean) {
            Some(fix) => finding.fix(fix),
            None => finding,
        },
    );
}
