//! A label that holds a version is no semantic version.
//!
//! ## Why
//! What a label has to be is said in the settings (`label-schema`, as hadolint's); those of OCI whose form its
//! specification says are looked at in any case.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! LABEL org.example.version="newest"
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! LABEL org.example.version="1.2.3"
//! ```

use plimsoll_diagnostics::Severity;

use crate::config::LabelForm;
use crate::view::DockerfileView;
use crate::{Check, Checker, Rule};

use super::labels;

pub(super) const RULE: Rule = Rule::new("label-version", Severity::Warning)
    .aliases(&["DL3056"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    labels::report(
        view,
        checker,
        LabelForm::SemVer,
        "is no semantic version, as `1.2.3`",
    );
}
