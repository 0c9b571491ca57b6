//! A variable is exported and set by a command in one go, so the command may fail unseen.
//!
//! ## Why
//! `export A=$(b)` ends as `export` does, well. Set first, export after: then `set -e` and `&&` see the failure.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! RUN export VERSION=$(cat /version) && echo "$VERSION"
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! RUN VERSION=$(cat /version) && export VERSION && echo "$VERSION"
//! ```

use plimsoll_diagnostics::Severity;

use crate::shell::ExpansionKind;
use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

use super::runs::called;

pub(super) const RULE: Rule = Rule::new("shell-masked-status", Severity::Warning)
    .aliases(&["SC2155"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for ran in called(view, &["export", "local", "declare", "readonly", "typeset"]) {
        for one in &ran.command.assignments {
            let outputs = one.value.iter().flat_map(|value| &value.expansions);
            if outputs
                .into_iter()
                .any(|one| matches!(one.kind, ExpansionKind::Output { .. }))
            {
                let program = ran.command.program().unwrap_or_default();
                checker.report(
                    Finding::new(
                        &view.source,
                        one.span,
                        format!("`{program}` hides whether the command failed"),
                    )
                    .help(format!(
                        "write `{name}=...` first, and `{program} {name}` after",
                        name = one.name
                    )),
                );
            }
        }
    }
}
