//! Packages of pip are installed without a version.
//!
//! ## Why
//! Another day, another version, and no way to tell which one is in the image. A requirements file with hashes pins
//! what is installed and what that needs.
//!
//! ## Bad
//! ```dockerfile
//! FROM python:3.13
//! RUN pip install --no-cache-dir flask
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM python:3.13
//! RUN pip install --no-cache-dir flask==3.1.1
//! ```

use plimsoll_diagnostics::Severity;

use crate::shell::ShellWord;
use crate::view::DockerfileView;
use crate::{Check, Checker, Rule};

use super::packages::pip_install;
use super::runs::commands;
use super::unpinned;

pub(super) const RULE: Rule = Rule::new("pip-unpinned", Severity::Info)
    .aliases(&["DL3013"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for ran in commands(view) {
        let Some(call) = pip_install(ran.command) else {
            continue;
        };
        if ran
            .command
            .has_flag(None, &["-c", "--constraint", "--require-hashes"])
        {
            continue;
        }
        let pinned = |word: &ShellWord| {
            let text = word.text.as_str();
            let file = [".whl", ".gz", ".zip", ".txt", ".bz2"]
                .iter()
                .any(|suffix| text.ends_with(suffix));
            text.contains(['=', '<', '>', '~', '@', '/'])
                || file
                || text == "."
                || text.starts_with(".[")
                || text == "\\"
        };
        unpinned::report(view, checker, &call, &pinned, "`PACKAGE==VERSION`");
    }
}
