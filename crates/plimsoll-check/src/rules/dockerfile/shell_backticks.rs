//! A command is substituted with backticks.
//!
//! ## Why
//! Backticks cannot be nested without escapes, and are easily taken for quotes. `$(...)` is the same.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! RUN echo "`date`" > /built
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! RUN echo "$(date)" > /built
//! ```

use plimsoll_diagnostics::{Fix, Severity};

use crate::shell::ExpansionKind;
use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

use super::runs::commands;

pub(super) const RULE: Rule = Rule::new("shell-backticks", Severity::Style)
    .aliases(&["SC2006"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for ran in commands(view) {
        let values = ran
            .command
            .assignments
            .iter()
            .filter_map(|one| one.value.as_ref());
        for one in ran
            .command
            .words
            .iter()
            .chain(values)
            .flat_map(|word| &word.expansions)
        {
            if one.kind != (ExpansionKind::Output { backticks: true }) {
                continue;
            }
            let written = view.source.slice(one.span);
            let inside = written.trim_matches('`');
            let finding = Finding::new(&view.source, one.span, "backticks are the old form of `$(...)`");
            // Escapes mean something else in the new form.
            checker.report(
                match written.len() == inside.len() + 2 && !inside.contains('\\') {
                    true => finding.fix(Fix::safe("write `$(...)`").replace(
                        &view.source,
                        one.span,
                        format!("$({inside})"),
                    )),
                    false => finding,
                },
            );
        }
    }
}
