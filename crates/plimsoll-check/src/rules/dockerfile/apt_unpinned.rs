//! Packages of apt are installed without a version.
//!
//! ## Why
//! Another day, another version. But pins are no cure: distributions take old versions off their mirrors, and the build
//! fails. What does work is a base image named by its digest together with a dated snapshot of the distribution
//! (`snapshot.debian.org`), so this is information only.
//!
//! ## Bad
//! ```dockerfile
//! FROM debian:12
//! RUN apt-get update && apt-get install -y --no-install-recommends curl && rm -rf /var/lib/apt/lists/*
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM debian:12
//! RUN apt-get update && apt-get install -y --no-install-recommends curl=7.88.* && rm -rf /var/lib/apt/lists/*
//! ```

use plimsoll_diagnostics::Severity;

use crate::shell::ShellWord;
use crate::view::DockerfileView;
use crate::{Check, Checker, Rule};

use super::packages::APT;
use super::runs::commands;
use super::unpinned;

pub(super) const RULE: Rule = Rule::new("apt-unpinned", Severity::Info)
    .aliases(&["DL3008"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for ran in commands(view) {
        let Some(call) = APT.call(ran.command, &["install"]) else {
            continue;
        };
        let pinned = |word: &ShellWord| {
            word.text.contains('=') || word.text.contains('/') || word.text.ends_with(".deb")
        };
        unpinned::report(view, checker, &call, &pinned, "`PACKAGE=VERSION`");
    }
}
