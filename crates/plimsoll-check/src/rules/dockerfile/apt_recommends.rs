//! apt installs recommended packages, too.
//!
//! ## Why
//! Recommended packages are what a person at a desk may want. In an image they are mostly megabytes and reports of
//! holes. Something may need one of them, so the edit is not certain.
//!
//! ## Bad
//! ```dockerfile
//! FROM debian:12
//! RUN apt-get update && apt-get install -y git && rm -rf /var/lib/apt/lists/*
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM debian:12
//! RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*
//! ```

use plimsoll_diagnostics::{Fix, Severity};

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

use super::edits::add_option;
use super::packages::APT;
use super::runs::runs;

pub(super) const RULE: Rule = Rule::new("apt-recommends", Severity::Info)
    .aliases(&["DL3015", "DS-0029"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    let mut settled = false;
    for run in runs(view) {
        settled |= run.mentions("Install-Recommends")
            || view.source.slice(run.step.span()).contains("Install-Recommends");
        if settled {
            return;
        }
        for ran in run.commands() {
            let Some(call) = APT.call(ran.command, &["install"]) else {
                continue;
            };
            if ran
                .command
                .has_flag(None, &["--no-install-recommends", "--install-recommends"])
                || call.operands.is_empty()
            {
                continue;
            }
            let fix = Fix::ask("add `--no-install-recommends`");
            checker.report(
                Finding::new(
                    &view.source,
                    call.verb.span,
                    "recommended packages are installed as well",
                )
                .help("add `--no-install-recommends`, and name those that are needed")
                .fix(add_option(fix, view, ran, call.verb, "--no-install-recommends")),
            );
        }
    }
}
