//! The cache of yum stays in the layer.
//!
//! ## Why
//! Lists and packages that yum fetched are in `/var/cache/yum`, where nobody needs them any more. They have to be
//! removed in the RUN that fetches them: a later one cannot make the layer smaller.
//!
//! ## Bad
//! ```dockerfile
//! FROM rockylinux:8
//! RUN yum install -y curl
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

use super::leftovers;
use super::packages::YUM;

pub(super) const RULE: Rule = Rule::new("yum-clean", Severity::Info)
    .aliases(&["DL3032", "DS-0015"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    leftovers::report(
        view,
        checker,
        &YUM,
        &["install", "groupinstall", "update", "upgrade"],
        "/var/cache/yum",
        &["clean"],
    );
}
