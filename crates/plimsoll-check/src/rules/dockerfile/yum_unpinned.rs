//! Packages of yum are installed without a version.
//!
//! ## Why
//! Another day, another version. Mirrors drop old builds, so this is information only; a base image named by its digest
//! does more.
//!
//! ## Bad
//! ```dockerfile
//! FROM fedora:42
//! RUN yum install -y curl && yum clean all
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM fedora:42
//! RUN yum install -y curl-7.76.1 && yum clean all
//! ```

use plimsoll_diagnostics::Severity;

use crate::view::DockerfileView;
use crate::{Check, Checker, Rule};

use super::packages::YUM;
use super::runs::commands;
use super::unpinned;

pub(super) const RULE: Rule = Rule::new("yum-unpinned", Severity::Info)
    .aliases(&["DL3033"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for ran in commands(view) {
        let Some(call) = YUM.call(ran.command, &["install"]) else {
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
