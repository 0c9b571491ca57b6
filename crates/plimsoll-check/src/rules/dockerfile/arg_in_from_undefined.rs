//! FROM uses an argument that is not declared above it.
//!
//! ## Why
//! Only arguments declared before the first FROM can be used in a FROM. Others are empty there.
//!
//! ## Bad
//! ```dockerfile
//! ARG VERSION=3.22
//! FROM alpine:$VERSOIN
//! ```
//!
//! ## Good
//! ```dockerfile
//! ARG VERSION=3.22
//! FROM alpine:$VERSION
//! ```

use plimsoll_diagnostics::{Fix, Severity, nearest};

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

use super::variables;

pub(super) const RULE: Rule = Rule::new("arg-in-from-undefined", Severity::Error)
    .aliases(&["UndefinedArgInFrom"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for stage in &view.stages {
        let from = view.from(stage);
        for word in [Some(&from.image), from.platform.as_ref()].into_iter().flatten() {
            for used in variables::undefined(view, stage.from, word) {
                let finding = Finding::new(
                    &view.source,
                    used.span,
                    format!("FROM argument `{}` is not declared", used.name),
                );
                let names = view
                    .variables_at(stage.from)
                    .into_iter()
                    .chain(variables::PLATFORM_ARGS);
                checker.report(match nearest(&used.name, names) {
                    Some(near) => finding
                        .help(format!("did you mean `{near}`?"))
                        .fix(Fix::safe("write its name").replace(&view.source, used.name_span, near)),
                    None => finding.help(format!("write `ARG {}=VALUE` above the first FROM", used.name)),
                });
            }
        }
    }
}
