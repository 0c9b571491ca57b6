//! zypper is not told to go on without asking.
//!
//! ## Why
//! Nobody answers in a build: `zypper install` gives up at its question.
//!
//! ## Bad
//! ```dockerfile
//! FROM opensuse/leap:15.6
//! RUN zypper install curl && zypper clean
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM opensuse/leap:15.6
//! RUN zypper install -y curl && zypper clean
//! ```

use plimsoll_diagnostics::Severity;

use crate::view::DockerfileView;
use crate::{Check, Checker, Rule};

use super::packages::ZYPPER;
use super::runs::commands;
use super::unattended;

pub(super) const RULE: Rule = Rule::new("zypper-no-yes", Severity::Warning)
    .aliases(&["DL3034"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for ran in commands(view) {
        if let Some(call) = ZYPPER.call(ran.command, &VERBS) {
            unattended::report(view, checker, ran, &call);
        }
    }
}

const VERBS: [&str; 9] = [
    "install",
    "in",
    "remove",
    "rm",
    "source-install",
    "si",
    "patch",
    "update",
    "up",
];
