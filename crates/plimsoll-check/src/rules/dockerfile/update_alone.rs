//! A RUN only updates the package lists.
//!
//! ## Why
//! Its layer is taken from the cache for months, and a later RUN installs from lists that point to packages which are
//! gone.
//!
//! ## Bad
//! ```dockerfile
//! FROM debian:12
//! RUN apt-get update
//! RUN apt-get install -y --no-install-recommends curl
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM debian:12
//! RUN apt-get update && apt-get install -y --no-install-recommends curl && rm -rf /var/lib/apt/lists/*
//! ```

use plimsoll_diagnostics::{Fix, Severity};

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

use super::edits;
use super::packages::{APK, APT, Call};
use super::runs::{Ran, runs};

pub(super) const RULE: Rule = Rule::new("update-alone", Severity::Warning)
    .aliases(&["CIS-DI-0007", "CIS-4.7", "DS-0017", "CKV_DOCKER_5"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for run in runs(view) {
        let Some(update) = run.commands().find_map(updates) else {
            continue;
        };
        let others = run.commands().filter(|ran| updates(*ran).is_none());
        let uses = |ran: Ran<'_>| {
            let known = matches!(
                ran.command.program(),
                Some("echo" | "set" | "true" | "rm" | "apt-get" | "apt" | "apk")
            );
            !known || installs(ran)
        };
        if others.into_iter().any(uses) {
            continue;
        }
        let finding = Finding::new(
            &view.source,
            update.verb.span,
            "the lists are updated in a layer of their own, which the cache keeps",
        )
        .help("update and install in one RUN");
        let next = run
            .step
            .stage
            .filter(|stage| stage.body.contains(&(run.step.at + 1)))
            .map(|_| view.step(run.step.at + 1));
        let next = next.filter(|next| {
            runs(view).any(|other| other.step.at == next.at && other.commands().any(installs))
        });
        checker.report(
            match next.and_then(|next| {
                edits::join_runs(Fix::safe("join it with the next RUN"), view, run.step, next)
            }) {
                Some(fix) => finding.fix(fix),
                None => finding,
            },
        );
    }
}

fn installs(ran: Ran<'_>) -> bool {
    APT.call(
        ran.command,
        &["install", "upgrade", "dist-upgrade", "full-upgrade", "build-dep"],
    )
    .is_some()
        || APK.call(ran.command, &["add", "upgrade"]).is_some()
}

fn updates(ran: Ran<'_>) -> Option<Call<'_>> {
    APT.call(ran.command, &["update"])
        .or_else(|| APK.call(ran.command, &["update"]))
}
