//! A label that holds a commit is no hash of git.
//!
//! ## Why
//! What a label has to be is said in the settings (`label-schema`, as hadolint's); those of OCI whose form its
//! specification says are looked at in any case.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! LABEL org.example.commit="main"
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! LABEL org.example.commit="8f2c3d1a"
//! ```

use plimsoll_diagnostics::Severity;

use crate::config::LabelForm;
use crate::view::DockerfileView;
use crate::{Check, Checker, Rule};

use super::labels;

pub(super) const RULE: Rule = Rule::new("label-commit", Severity::Warning)
    .aliases(&["DL3055"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    labels::report(view, checker, LabelForm::GitHash, "is no hash of git");
}
