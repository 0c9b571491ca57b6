//! apt upgrades the whole distribution.
//!
//! ## Why
//! `dist-upgrade` may take packages away to get others in, and gives another image every day. A newer base image has
//! the same fixes, tested together.
//!
//! ## Bad
//! ```dockerfile
//! FROM debian:12
//! RUN apt-get update && apt-get -y dist-upgrade && rm -rf /var/lib/apt/lists/*
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM debian:12.11
//! ```

use plimsoll_diagnostics::Severity;

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

use super::packages::APT;
use super::runs::commands;

pub(super) const RULE: Rule = Rule::new("apt-dist-upgrade", Severity::Warning)
    .aliases(&["DKL-DI-0003", "DS-0024"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for ran in commands(view) {
        if let Some(call) = APT.call(ran.command, &["dist-upgrade", "full-upgrade"]) {
            checker.report(
                Finding::new(&view.source, call.verb.span, "the whole distribution is upgraded")
                    .help("take a newer base image"),
            );
        }
    }
}
