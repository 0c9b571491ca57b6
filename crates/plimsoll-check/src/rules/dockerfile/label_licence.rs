//! A label that holds a licence is no SPDX expression.
//!
//! ## Why
//! What a label has to be is said in the settings (`label-schema`, as hadolint's); those of OCI whose form its
//! specification says are looked at in any case.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! LABEL org.opencontainers.image.licenses="see LICENSE file"
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! LABEL org.opencontainers.image.licenses="Apache-2.0 OR MIT"
//! ```

use plimsoll_diagnostics::Severity;

use crate::config::LabelForm;
use crate::view::DockerfileView;
use crate::{Check, Checker, Rule};

use super::labels;

pub(super) const RULE: Rule = Rule::new("label-licence", Severity::Warning)
    .aliases(&["DL3054"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    labels::report(
        view,
        checker,
        LabelForm::Spdx,
        "is no SPDX licence, as `Apache-2.0 OR MIT`",
    );
}
