//! dnf is not told to go on without asking.
//!
//! ## Why
//! Nobody answers in a build: `dnf install` gives up at its question.
//!
//! ## Bad
//! ```dockerfile
//! FROM fedora:42
//! RUN dnf install curl && dnf clean all
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM fedora:42
//! RUN dnf install -y curl && dnf clean all
//! ```

use plimsoll_diagnostics::Severity;

use crate::view::DockerfileView;
use crate::{Check, Checker, Rule};

use super::packages::DNF;
use super::runs::commands;
use super::unattended;

pub(super) const RULE: Rule = Rule::new("dnf-no-yes", Severity::Warning)
    .aliases(&["DL3038"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for ran in commands(view) {
        if let Some(call) = DNF.call(ran.command, &VERBS) {
            unattended::report(view, checker, ran, &call);
        }
    }
}

const VERBS: [&str; 5] = ["install", "groupinstall", "localinstall", "reinstall", "update"];
