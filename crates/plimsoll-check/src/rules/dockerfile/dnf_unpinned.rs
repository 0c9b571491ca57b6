//! Packages of dnf are installed without a version.
//!
//! ## Why
//! Another day, another version. Mirrors drop old builds, so this is information only; a base image named by its digest
//! does more.
//!
//! ## Bad
//! ```dockerfile
//! FROM fedora:42
//! RUN dnf install -y curl && dnf clean all
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM fedora:42
//! RUN dnf install -y curl-8.9.1 && dnf clean all
//! ```

use plimsoll_diagnostics::Severity;

use crate::view::DockerfileView;
use crate::{Check, Checker, Rule};

use super::packages::DNF;
use super::runs::commands;
use super::unpinned;

pub(super) const RULE: Rule = Rule::new("dnf-unpinned", Severity::Info)
    .aliases(&["DL3041"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for ran in commands(view) {
        let Some(call) = DNF.call(ran.command, &["install"]) else {
            continue;
        };
        unpinned::report(
            view,
            checker,
            &call,
            &unpinned::is_rpm_version,
            "`PACKAGE-VERSION`",
        );
    }
}
