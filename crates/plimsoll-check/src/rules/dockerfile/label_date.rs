//! A label that holds a time is not of the form RFC 3339.
//!
//! ## Why
//! What a label has to be is said in the settings (`label-schema`, as hadolint's); those of OCI whose form its
//! specification says are looked at in any case.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! LABEL org.opencontainers.image.created="yesterday"
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! LABEL org.opencontainers.image.created="2026-05-04T10:00:00Z"
//! ```

use plimsoll_diagnostics::Severity;

use crate::config::LabelForm;
use crate::view::DockerfileView;
use crate::{Check, Checker, Rule};

use super::labels;

pub(super) const RULE: Rule = Rule::new("label-date", Severity::Warning)
    .aliases(&["DL3053"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    labels::report(
        view,
        checker,
        LabelForm::Rfc3339,
        "is no time of RFC 3339, as `2026-05-04T10:00:00Z`",
    );
}
