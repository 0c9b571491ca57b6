//! ONBUILD holds an instruction that it cannot hold.
//!
//! ## Why
//! FROM, MAINTAINER and ONBUILD itself cannot be stored for later builds.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! ONBUILD FROM debian:12
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! ONBUILD COPY . /app
//! ```

use plimsoll_diagnostics::Severity;

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("onbuild-forbidden", Severity::Error)
    .aliases(&["DL3043"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for wrong in view
        .diagnostics
        .iter()
        .filter(|found| found.code == "onbuild-instruction")
    {
        checker.report(Finding::new(
            &view.source,
            wrong.span().unwrap_or_default(),
            wrong.message.clone(),
        ));
    }
}
