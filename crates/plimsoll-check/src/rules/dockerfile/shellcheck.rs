//! ShellCheck has found something in the shell text of a RUN.
//!
//! ## Why
//! ShellCheck knows some three hundred faults of shell scripts. It is a program of its own: where it is installed and asked
//! for (`check --shellcheck`, or `program` in the settings), every RUN is given to it, and what it says is brought back to
//! the line and column of the Dockerfile. What our own rules `shell-*` look for is left to them.
//!
//! ## Bad
//! ```dockerfile
//! FROM debian:12
//! RUN for f in $(ls /in); do cat "$f"; done
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM debian:12
//! RUN for f in /in/*; do cat "$f"; done
//! ```

use plimsoll_diagnostics::Severity;

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule, RuleOption};

pub(super) const RULE: Rule = Rule::new("shellcheck", Severity::Warning)
    .options(&[RuleOption {
        name: "program",
        about: "where ShellCheck is, when it is not in PATH",
    }])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for found in &view.shellcheck {
        // Some rule of ours has that alias.
        if !crate::rules::named(&found.code).is_empty() {
            continue;
        }
        checker.report(
            Finding::new(&view.source, found.span, found.message.clone())
                .severity(found.severity)
                .alias(found.code.clone())
                .help(format!("https://www.shellcheck.net/wiki/{}", found.code)),
        );
    }
}
