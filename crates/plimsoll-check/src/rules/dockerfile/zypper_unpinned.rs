//! Packages of zypper are installed without a version.
//!
//! ## Why
//! Another day, another version. Mirrors drop old builds, so this is information only; a base image named by its digest
//! does more.
//!
//! ## Bad
//! ```dockerfile
//! FROM opensuse/leap:15.6
//! RUN zypper --non-interactive install curl && zypper clean
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM opensuse/leap:15.6
//! RUN zypper --non-interactive install curl=8.6.0 && zypper clean
//! ```

use plimsoll_diagnostics::Severity;

use crate::shell::ShellWord;
use crate::view::DockerfileView;
use crate::{Check, Checker, Rule};

use super::packages::ZYPPER;
use super::runs::commands;
use super::unpinned;

pub(super) const RULE: Rule = Rule::new("zypper-unpinned", Severity::Info)
    .aliases(&["DL3037"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for ran in commands(view) {
        let Some(call) = ZYPPER.call(ran.command, &["install", "in"]) else {
            continue;
        };
        let pinned =
            |word: &ShellWord| word.text.contains(['=', '<', '>', '/']) || word.text.ends_with(".rpm");
        unpinned::report(view, checker, &call, &pinned, "`PACKAGE=VERSION`");
    }
}
