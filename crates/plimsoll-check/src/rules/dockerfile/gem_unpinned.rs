//! Gems are installed without a version.
//!
//! ## Why
//! Another day, another version. What a project needs is pinned by its `Gemfile.lock`.
//!
//! ## Bad
//! ```dockerfile
//! FROM ruby:3.4
//! RUN gem install bundler
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM ruby:3.4
//! RUN gem install bundler:2.7.1
//! ```

use plimsoll_diagnostics::Severity;

use crate::shell::ShellWord;
use crate::view::DockerfileView;
use crate::{Check, Checker, Rule};

use super::packages::GEM;
use super::runs::commands;
use super::unpinned;

pub(super) const RULE: Rule = Rule::new("gem-unpinned", Severity::Info)
    .aliases(&["DL3028"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for ran in commands(view) {
        let Some(call) = GEM.call(ran.command, &["install", "i"]) else {
            continue;
        };
        if ran.command.has_flag(None, &["-v", "--version"]) {
            continue;
        }
        let pinned = |word: &ShellWord| word.text.contains(':') || word.text.ends_with(".gem");
        unpinned::report(view, checker, &call, &pinned, "`GEM:VERSION`");
    }
}
