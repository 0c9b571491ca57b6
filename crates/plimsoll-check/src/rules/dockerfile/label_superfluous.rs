//! A label is not among those that the settings know.
//!
//! ## Why
//! Only when the settings ask for it (`strict-labels`).
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! LABEL com.example.mood="good"
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! LABEL org.example.owner="ada"
//! ```

use plimsoll_diagnostics::Severity;

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

use super::labels;

pub(super) const RULE: Rule = Rule::new("label-superfluous", Severity::Info)
    .aliases(&["DL3050"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    let config = checker.config();
    if !config.strict_labels {
        return;
    }
    for (_, pair) in labels::all(view) {
        let key = pair.key.value.trim_matches(['"', '\'']);
        if !config.label_schema.contains_key(key) && !key.contains('$') {
            checker.report(Finding::new(
                &view.source,
                pair.key.span,
                format!("the settings know no label `{key}`"),
            ));
        }
    }
}
