//! The name of a stage is not in lower case.
//!
//! ## Why
//! Stage names are compared without regard to case, and are in lower case everywhere else, as image names are. Mixed
//! ones look like two different stages.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22 AS BuildBase
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22 AS build-base
//! ```

use plimsoll_diagnostics::{Fix, Severity};

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("stage-case", Severity::Style)
    .aliases(&["StageNameCasing"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for name in view.stages.iter().filter_map(|stage| stage.name.as_ref()) {
        let lower = name.value.to_lowercase();
        if lower != name.value {
            checker.report(
                Finding::new(
                    &view.source,
                    name.span,
                    format!("stage name `{}` should be lowercase", name.value),
                )
                .help(format!(
                    "write `{lower}`; `COPY --from` and `--target` find it as before"
                ))
                .fix(Fix::safe("write it in lower case").replace(
                    &view.source,
                    name.span,
                    lower,
                )),
            );
        }
    }
}
