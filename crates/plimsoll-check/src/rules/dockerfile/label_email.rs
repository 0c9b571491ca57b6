//! A label that holds an e-mail address is none.
//!
//! ## Why
//! What a label has to be is said in the settings (`label-schema`, as hadolint's); those of OCI whose form its
//! specification says are looked at in any case.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! LABEL org.example.email="ada"
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! LABEL org.example.email="ada@example.com"
//! ```

use plimsoll_diagnostics::Severity;

use crate::config::LabelForm;
use crate::view::DockerfileView;
use crate::{Check, Checker, Rule};

use super::labels;

pub(super) const RULE: Rule = Rule::new("label-email", Severity::Warning)
    .aliases(&["DL3058"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    labels::report(view, checker, LabelForm::Email, "is no e-mail address");
}
