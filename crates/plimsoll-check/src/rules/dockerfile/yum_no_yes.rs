//! yum is not told to go on without asking.
//!
//! ## Why
//! Nobody answers in a build: `yum install` gives up at its question.
//!
//! ## Bad
//! ```dockerfile
//! FROM rockylinux:8
//! RUN yum install curl && yum clean all
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM rockylinux:8
//! RUN yum install -y curl && yum clean all
//! ```

use plimsoll_diagnostics::Severity;

use crate::view::DockerfileView;
use crate::{Check, Checker, Rule};

use super::packages::YUM;
use super::runs::commands;
use super::unattended;

pub(super) const RULE: Rule = Rule::new("yum-no-yes", Severity::Warning)
    .aliases(&["DL3030"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for ran in commands(view) {
        if let Some(call) = YUM.call(ran.command, &VERBS) {
            unattended::report(view, checker, ran, &call);
        }
    }
}

const VERBS: [&str; 5] = ["install", "groupinstall", "localinstall", "reinstall", "update"];
