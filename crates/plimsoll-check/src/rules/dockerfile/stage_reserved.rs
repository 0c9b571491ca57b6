//! A stage has a name that means something else.
//!
//! ## Why
//! `scratch` is the empty base and `context` the files that the build is given: a stage of that name can never be
//! named.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22 AS scratch
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22 AS builder
//! ```

use plimsoll_diagnostics::Severity;

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("stage-reserved", Severity::Error)
    .aliases(&["DL3063", "ReservedStageName"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for name in view.stages.iter().filter_map(|stage| stage.name.as_ref()) {
        if ["scratch", "context"]
            .iter()
            .any(|reserved| reserved.eq_ignore_ascii_case(&name.value))
        {
            let message = format!("stage name `{}` is reserved", name.value);
            checker.report(Finding::new(&view.source, name.span, message).help("use a different name"));
        }
    }
}
