//! A label that the settings ask for is missing.
//!
//! ## Why
//! Which labels an image has to have is said in the settings (`label-schema`, as hadolint's).
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! LABEL org.example.commit="8f2c3d1a" org.example.version="1.2.3" org.example.email="ada@example.com" org.example.owner="ada"
//! ```

use plimsoll_diagnostics::Severity;

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

use super::labels;

pub(super) const RULE: Rule = Rule::new("label-missing", Severity::Info)
    .aliases(&["DL3049"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    let schema = &checker.config().label_schema;
    for stage in view.shipped().filter(|_| !schema.is_empty()) {
        let chain: Vec<usize> = view.chain(stage).map(|one| one.index).collect();
        let is_set = |key: &String| {
            labels::all(view).any(|(step, pair)| {
                step.stage.is_some_and(|own| chain.contains(&own.index))
                    && pair.key.value.trim_matches(['"', '\'']) == key
            })
        };
        let missing: Vec<String> = schema
            .keys()
            .filter(|key| !is_set(key))
            .map(|key| format!("`{key}`"))
            .collect();
        if !missing.is_empty() {
            checker.report(Finding::new(
                &view.source,
                view.from(stage).image.span,
                format!("the image lacks the label {}", missing.join(", ")),
            ));
        }
    }
}
