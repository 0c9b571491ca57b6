//! A label has no value.
//!
//! ## Why
//! A label that says nothing is one that somebody forgot to fill in. Only those that the settings ask for, and those of
//! OCI, are looked at.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! LABEL org.opencontainers.image.title=""
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! LABEL org.opencontainers.image.title="app"
//! ```

use plimsoll_diagnostics::Severity;

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

use super::labels;

pub(super) const RULE: Rule = Rule::new("label-empty", Severity::Warning)
    .aliases(&["DL3051"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for (step, pair) in labels::all(view) {
        let key = pair.key.value.trim_matches(['"', '\'']);
        let known =
            checker.config().label_schema.contains_key(key) || key.starts_with("org.opencontainers.image.");
        if known
            && view
                .expand(step.at, &pair.value)
                .is_some_and(|value| value.trim().is_empty())
        {
            checker.report(Finding::new(
                &view.source,
                pair.key.span,
                format!("label `{key}` is empty"),
            ));
        }
    }
}
