//! What follows a `cd` runs in the wrong folder when it fails.
//!
//! ## Why
//! Without `&&` or `set -e` the shell goes on where it was: `cd /build; rm -rf *` then empties another folder.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! RUN cd /build; rm -rf ./*
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! RUN cd /build && rm -rf ./*
//! ```

use plimsoll_diagnostics::Severity;

use crate::shell::Joint;
use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

use super::runs::runs;

pub(super) const RULE: Rule = Rule::new("shell-cd-unchecked", Severity::Warning)
    .aliases(&["SC2164"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for run in runs(view) {
        for ran in run
            .commands()
            .filter(|ran| matches!(ran.command.program(), Some("cd" | "pushd")))
        {
            let place = ran.command.place;
            let followed = run.script.commands.iter().any(|other| {
                other.list == ran.command.list
                    && other.joint == Joint::Next
                    && other.span.start > ran.command.span.start
            });
            let up = ran.command.args().first().is_some_and(|folder| {
                folder.text.starts_with("..") || folder.text == "-" || folder.text == "/"
            });
            if place.watched
                || place.condition
                || !followed
                || up
                || run.script.stops_at_failures(ran.command)
                || run.script.shell.is_none()
            {
                continue;
            }
            checker.report(
                Finding::new(
                    &view.source,
                    ran.command.span,
                    "when this `cd` fails, what follows runs in another folder",
                )
                .help("join them with `&&`, or begin with `set -e`"),
            );
        }
    }
}
