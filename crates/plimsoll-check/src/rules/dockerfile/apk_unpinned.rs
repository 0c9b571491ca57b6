//! Packages of apk are installed without a version.
//!
//! ## Why
//! Another day, another version. Alpine keeps only the newest build of a package in a release, so exact pins break
//! within weeks; a fuzzy one (`~=`) lasts longer. This is information only.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! RUN apk add --no-cache curl
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! RUN apk add --no-cache curl~=8.14
//! ```

use plimsoll_diagnostics::Severity;

use crate::shell::ShellWord;
use crate::view::DockerfileView;
use crate::{Check, Checker, Rule};

use super::packages::APK;
use super::runs::commands;
use super::unpinned;

pub(super) const RULE: Rule = Rule::new("apk-unpinned", Severity::Info)
    .aliases(&["DL3018"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for ran in commands(view) {
        let Some(call) = APK.call(ran.command, &["add"]) else {
            continue;
        };
        let pinned = |word: &ShellWord| {
            word.text.contains(['=', '<', '>', '~', '/'])
                || word.text.starts_with('.')
                || word.text.ends_with(".apk")
        };
        unpinned::report(view, checker, &call, &pinned, "`PACKAGE~=VERSION`");
    }
}
