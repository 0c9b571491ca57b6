//! A RUN uses sudo.
//!
//! ## Why
//! A build runs as root unless USER says otherwise, so sudo does nothing but install one more program that gives root.
//! Where a USER is in the way, write `USER root` before and the user after.
//!
//! ## Bad
//! ```dockerfile
//! FROM debian:12
//! RUN sudo apt-get update
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM debian:12
//! RUN apt-get update && rm -rf /var/lib/apt/lists/*
//! ```

use plimsoll_diagnostics::Severity;

use crate::rules::image::look;
use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

use super::runs::commands;

pub(super) const RULE: Rule = Rule::new("sudo-used", Severity::Error)
    .aliases(&["DL3004", "DKL-DI-0001", "DS-0010", "CKV2_DOCKER_1"])
    .checks(&[Check::Dockerfile(check), Check::Image(look::sudo_used)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for ran in commands(view) {
        let Some(word) = ran.command.words.iter().find(|word| word.text == "sudo") else {
            continue;
        };
        if ran.command.is_run_by("sudo") {
            checker.report(
                Finding::new(&view.source, word.span, "`sudo` has nothing to do in a build")
                    .help("leave it out; where USER is in the way, write `USER root` above and the user again below"),
            );
        }
    }
}
