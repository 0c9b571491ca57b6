//! The package lists of apt stay in the layer.
//!
//! ## Why
//! `apt-get update` fetches some 20 MB of lists that nobody needs at run time and that are out of date soon. They have
//! to be removed in the RUN that fetches them: a later one cannot make the layer smaller.
//!
//! ## Bad
//! ```dockerfile
//! FROM debian:12
//! RUN apt-get update && apt-get install -y --no-install-recommends curl
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM debian:12
//! RUN apt-get update && apt-get install -y --no-install-recommends curl && rm -rf /var/lib/apt/lists/*
//! ```

use plimsoll_diagnostics::{Fix, Severity};

use crate::rules::image::look;
use crate::shell::ShellCommand;
use crate::view::{DockerfileView, Step};
use crate::{Check, Checker, Finding, Rule};

use super::edits::run_after;
use super::packages::APT;
use super::runs::{RunStep, runs, runs_of};

pub(super) const RULE: Rule = Rule::new("apt-lists-left", Severity::Info)
    .aliases(&["DL3009", "DKL-DI-0005"])
    .checks(&[Check::Dockerfile(check), Check::Image(look::package_lists_left)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    let mut looked: Vec<usize> = Vec::new();
    for stage in view.shipped().flat_map(|stage| view.chain(stage)) {
        if !looked.contains(&stage.index) {
            looked.push(stage.index);
            runs_of(view, stage).for_each(|run| look(view, checker, run));
        }
    }
}

fn look(view: &DockerfileView, checker: &mut Checker<'_>, run: RunStep<'_>) {
    let update = run.commands().find_map(|ran| APT.call(ran.command, &["update"]));
    let Some(update) = update else { return };
    // Lists that are fetched for a later RUN are another rule's.
    if !run.commands().any(|ran| installs(ran.command)) {
        return;
    }
    let removes = |command: &ShellCommand| {
        let deletes = matches!(command.program(), Some("rm" | "find"));
        deletes
            && command
                .args()
                .iter()
                .any(|word| word.text.starts_with("/var/lib/apt"))
            || command
                .args()
                .iter()
                .any(|word| word.text == "/var/lib/apt/lists")
    };
    let removed = run
        .script
        .commands
        .iter()
        .any(|command| removes(command) && command.span.start > update.verb.span.start);
    if removed || run.is_mounted("/var/lib/apt/lists") {
        return;
    }
    let finding = Finding::new(
        &view.source,
        update.verb.span,
        "the lists of packages stay in the layer",
    )
    .help("end the RUN with `rm -rf /var/lib/apt/lists/*`");
    let last = run.commands().filter(|ran| is_apt(ran.command)).last();
    // A later RUN would have nothing to install from.
    let last = last.filter(|_| !used_later(view, run.step));
    let fix = Fix::safe("remove the lists");
    let fix = last.and_then(|last| run_after(fix, view, run, last.command, "rm -rf /var/lib/apt/lists/*"));
    checker.report(match fix {
        Some(fix) => finding.fix(fix),
        None => finding,
    });
}

fn is_apt(command: &ShellCommand) -> bool {
    APT.call(command, &["update"]).is_some() || installs(command)
}

fn installs(command: &ShellCommand) -> bool {
    let verbs = ["install", "upgrade", "dist-upgrade", "full-upgrade", "build-dep"];
    APT.call(command, &verbs).is_some()
}

/// A later RUN installs without lists of its own.
fn used_later(view: &DockerfileView, step: Step<'_>) -> bool {
    let from = step.stage.map_or(0, |stage| stage.from);
    runs(view)
        .filter(|run| run.step.at > step.at && run.step.at > from)
        .any(|run| {
            let updates = run
                .commands()
                .any(|ran| APT.call(ran.command, &["update"]).is_some());
            !updates && run.commands().any(|ran| is_apt(ran.command))
        })
}
