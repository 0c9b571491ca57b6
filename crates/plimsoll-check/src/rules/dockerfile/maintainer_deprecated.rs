//! The author is set with MAINTAINER.
//!
//! ## Why
//! MAINTAINER has been deprecated since 2017. It sets a field that few tools show; a label is seen by all of them, and
//! `docker inspect` and registries know `org.opencontainers.image.authors`.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! MAINTAINER Ada <ada@example.com>
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! LABEL org.opencontainers.image.authors="Ada <ada@example.com>"
//! ```

use plimsoll_diagnostics::{Fix, Severity};
use plimsoll_dockerfile::InstructionKind;

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("maintainer-deprecated", Severity::Warning)
    .aliases(&["DL4000", "MaintainerDeprecated", "DS-0022", "CKV_DOCKER_6"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for step in view.steps() {
        let InstructionKind::Maintainer(author) = step.kind() else {
            continue;
        };
        let label = format!(
            "LABEL org.opencontainers.image.authors=\"{}\"",
            author.value.replace(['\\', '"'], "")
        );
        checker.report(
            Finding::new(&view.source, step.span(), "MAINTAINER is deprecated")
                .help(format!("write `{label}`"))
                .fix(Fix::safe("write a label").replace(&view.source, step.span(), label)),
        );
    }
}
