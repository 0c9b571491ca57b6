//! An instruction stands before the first FROM.
//!
//! ## Why
//! A stage begins with FROM; only ARG, comments and directives may come before it.
//!
//! ## Bad
//! ```dockerfile
//! RUN true
//! FROM alpine:3.22
//! ```
//!
//! ## Good
//! ```dockerfile
//! ARG VERSION=3.22
//! FROM alpine:$VERSION
//! ```

use plimsoll_diagnostics::Severity;

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("instruction-order", Severity::Error)
    .aliases(&["DL3061"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for wrong in view
        .diagnostics
        .iter()
        .filter(|found| found.code == "no-build-stage")
    {
        checker.report(
            Finding::new(
                &view.source,
                wrong.span().unwrap_or_default(),
                wrong.message.clone(),
            )
            .help("a stage begins with `FROM IMAGE`; only ARG may come before it"),
        );
    }
}
