//! apt is not told to go on without asking.
//!
//! ## Why
//! Nobody answers in a build: `apt-get install` gives up at its question.
//!
//! ## Bad
//! ```dockerfile
//! FROM debian:12
//! RUN apt-get update && apt-get install --no-install-recommends curl && rm -rf /var/lib/apt/lists/*
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM debian:12
//! RUN apt-get update && apt-get install -y --no-install-recommends curl && rm -rf /var/lib/apt/lists/*
//! ```

use plimsoll_diagnostics::Severity;

use crate::view::DockerfileView;
use crate::{Check, Checker, Rule};

use super::packages::APT;
use super::runs::runs;
use super::unattended;

pub(super) const RULE: Rule = Rule::new("apt-no-yes", Severity::Warning)
    .aliases(&["DL3014", "DS-0021"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for run in runs(view) {
        let configured = run.mentions("Assume-Yes");
        for ran in run.commands().filter(|_| !configured) {
            if let Some(call) = APT.call(ran.command, &["install"]) {
                let quiet = ran
                    .command
                    .args()
                    .iter()
                    .filter(|word| matches!(word.text.as_str(), "-q" | "--quiet"))
                    .count()
                    > 1;
                if !quiet && !ran.command.has_flag(None, &["-qq", "-q=2", "-qqy", "-yqq"]) {
                    unattended::report(view, checker, ran, &call);
                }
            }
        }
    }
}
