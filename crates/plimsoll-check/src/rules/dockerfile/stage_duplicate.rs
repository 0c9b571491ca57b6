//! Two stages have the same name.
//!
//! ## Why
//! `COPY --from` and `--target` find the last of them, and the other one can only be reached by its number.
//!
//! ## Bad
//! ```dockerfile
//! FROM debian:12 AS build
//! FROM alpine:3.22 AS build
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM debian:12 AS build
//! FROM alpine:3.22 AS runtime
//! ```

use plimsoll_diagnostics::Severity;

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("stage-duplicate", Severity::Error)
    .aliases(&["DL3024", "DuplicateStageName", "DS-0012", "CKV_DOCKER_11"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for stage in &view.stages {
        let Some(name) = &stage.name else { continue };
        let earlier = view.stages[..stage.index]
            .iter()
            .filter_map(|stage| stage.name.as_ref());
        if let Some(first) = earlier
            .into_iter()
            .find(|other| other.value.eq_ignore_ascii_case(&name.value))
        {
            checker.report(
                Finding::new(
                    &view.source,
                    name.span,
                    format!("duplicate stage name `{}`", name.value),
                )
                .help("stage names should be unique")
                .label(first.span, "first used here"),
            );
        }
    }
}
