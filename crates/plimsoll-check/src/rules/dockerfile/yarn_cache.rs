//! yarn leaves its cache in the layer.
//!
//! ## Why
//! Every package that yarn fetches is kept once more in its cache. A cache mount keeps it out of the image and at hand
//! for the next build.
//!
//! ## Bad
//! ```dockerfile
//! FROM node:22
//! RUN yarn install --frozen-lockfile
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM node:22
//! RUN yarn install --frozen-lockfile && yarn cache clean
//! ```

use plimsoll_diagnostics::{Fix, Severity};

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

use super::edits::run_after;
use super::runs::{Ran, runs_of};

pub(super) const RULE: Rule = Rule::new("yarn-cache", Severity::Info)
    .aliases(&["DL3060"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for stage in view.shipped().flat_map(|stage| view.chain(stage)) {
        for run in runs_of(view, stage) {
            let installs = |ran: &Ran<'_>| {
                ran.command.program() == Some("yarn") && ran.command.subcommand() == Some("install")
            };
            let Some(install) = run.commands().find(installs) else {
                continue;
            };
            let cleans = run.commands().any(|ran| {
                let yarn = ran.command.program() == Some("yarn") && ran.command.subcommand() == Some("cache");
                yarn || ran.command.program() == Some("rm")
                    && ran.command.args().iter().any(|word| word.text.contains("yarn"))
            });
            if cleans || run.has_cache() || install.command.has_flag(None, &["--cache-folder"]) {
                continue;
            }
            let finding = Finding::new(&view.source, install.command.span, "the cache of yarn stays in the layer")
                .help("end the RUN with `yarn cache clean`, or mount a cache: `RUN --mount=type=cache,target=/usr/local/share/.cache/yarn`");
            checker.report(
                match run_after(
                    Fix::safe("clean the cache"),
                    view,
                    run,
                    install.command,
                    "yarn cache clean",
                ) {
                    Some(fix) => finding.fix(fix),
                    None => finding,
                },
            );
        }
    }
}
