//! Packages of npm are installed without a version.
//!
//! ## Why
//! Another day, another version. What a project needs is pinned by its lock file and `npm ci`; tools that are installed
//! besides want a version of their own.
//!
//! ## Bad
//! ```dockerfile
//! FROM node:22
//! RUN npm install -g typescript
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM node:22
//! RUN npm install -g typescript@5.9.2
//! ```

use plimsoll_diagnostics::Severity;

use crate::shell::ShellWord;
use crate::view::DockerfileView;
use crate::{Check, Checker, Rule};

use super::packages::NPM;
use super::runs::commands;
use super::unpinned;

pub(super) const RULE: Rule = Rule::new("npm-unpinned", Severity::Info)
    .aliases(&["DL3016"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for ran in commands(view) {
        let Some(call) = NPM.call(ran.command, &["install", "i", "add"]) else {
            continue;
        };
        let pinned = |word: &ShellWord| {
            let text = word.text.as_str();
            let name = text.strip_prefix('@').unwrap_or(text);
            let elsewhere = text.contains(':') || text.starts_with(['.', '/', '~']) || text.ends_with(".tgz");
            let repository = !text.starts_with('@') && text.contains('/');
            name.contains('@') || elsewhere || repository
        };
        unpinned::report(view, checker, &call, &pinned, "`PACKAGE@VERSION`");
    }
}
