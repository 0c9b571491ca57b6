//! A line cannot be understood.
//!
//! ## Why
//! A build of this file fails. The rest of the file is checked all the same: one bad line is one finding.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! RUNN apk add --no-cache curl
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! RUN apk add --no-cache curl
//! ```

use plimsoll_diagnostics::Severity;

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("syntax-error", Severity::Error)
    .aliases(&["DL1000"])
    .checks(&[Check::Dockerfile(check)]);

/// Errors of the parser that have a rule of their own: one bad line is one finding.
const NAMED: [&str; 2] = ["no-build-stage", "onbuild-instruction"];

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    let errors = view.diagnostics.iter();
    for error in errors.filter(|one| one.severity == Severity::Error && !NAMED.contains(&one.code)) {
        let span = error.span().unwrap_or_default();
        let mut finding = Finding::new(&view.source, span, error.message.clone());
        if let Some(help) = &error.help {
            finding = finding.help(help);
        }
        checker.report(finding);
    }
}
