//! The cache of zypper stays in the layer.
//!
//! ## Why
//! Lists and packages that zypper fetched are in `/var/cache/zypp`, where nobody needs them any more. They have to be
//! removed in the RUN that fetches them: a later one cannot make the layer smaller.
//!
//! ## Bad
//! ```dockerfile
//! FROM opensuse/leap:15.6
//! RUN zypper install -y curl
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM opensuse/leap:15.6
//! RUN zypper install -y curl && zypper clean
//! ```

use plimsoll_diagnostics::Severity;

use crate::view::DockerfileView;
use crate::{Check, Checker, Rule};

use super::leftovers;
use super::packages::ZYPPER;

pub(super) const RULE: Rule = Rule::new("zypper-clean", Severity::Info)
    .aliases(&["DL3036", "DS-0020"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    leftovers::report(
        view,
        checker,
        &ZYPPER,
        &["install", "in", "update", "up", "dup", "dist-upgrade"],
        "/var/cache/zypp",
        &["clean", "cc"],
    );
}
