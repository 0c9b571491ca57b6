//! The cache of dnf stays in the layer.
//!
//! ## Why
//! Lists and packages that dnf fetched are in `/var/cache/dnf`, where nobody needs them any more. They have to be
//! removed in the RUN that fetches them: a later one cannot make the layer smaller.
//!
//! ## Bad
//! ```dockerfile
//! FROM fedora:42
//! RUN dnf install -y curl
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM fedora:42
//! RUN dnf install -y curl && dnf clean all
//! ```

use plimsoll_diagnostics::Severity;

use crate::view::DockerfileView;
use crate::{Check, Checker, Rule};

use super::leftovers;
use super::packages::DNF;

pub(super) const RULE: Rule = Rule::new("dnf-clean", Severity::Info)
    .aliases(&["DL3040", "DS-0019", "DS-0027"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    leftovers::report(
        view,
        checker,
        &DNF,
        &["install", "groupinstall", "update", "upgrade"],
        "/var/cache/dnf",
        &["clean"],
    );
}
