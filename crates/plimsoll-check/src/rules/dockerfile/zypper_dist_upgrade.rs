//! zypper upgrades the whole distribution.
//!
//! ## Why
//! That gives another image every day, and is what a newer base image is for.
//!
//! ## Bad
//! ```dockerfile
//! FROM opensuse/leap:15.6
//! RUN zypper --non-interactive dist-upgrade && zypper clean
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM opensuse/leap:15.6
//! RUN zypper --non-interactive install curl=8.6.0 && zypper clean
//! ```

use plimsoll_diagnostics::Severity;

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

use super::packages::ZYPPER;
use super::runs::commands;

pub(super) const RULE: Rule = Rule::new("zypper-dist-upgrade", Severity::Warning)
    .aliases(&["DL3035"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for ran in commands(view) {
        if let Some(call) = ZYPPER.call(ran.command, &["dist-upgrade", "dup"]) {
            checker.report(
                Finding::new(&view.source, call.verb.span, "the whole distribution is upgraded")
                    .help("take a newer base image"),
            );
        }
    }
}
