//! Names from `find` are split at their blanks by `xargs`.
//!
//! ## Why
//! `find -print0 | xargs -0` or `find -exec ... +` pass every name whole.
//!
//! ## Bad
//! ```dockerfile
//! FROM debian:12
//! RUN find / -name '*.pyc' | xargs rm
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM debian:12
//! RUN find / -name '*.pyc' -exec rm {} +
//! ```

use plimsoll_diagnostics::Severity;

use crate::shell::ShellCommand;
use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

use super::runs::runs;

pub(super) const RULE: Rule = Rule::new("shell-find-xargs", Severity::Warning)
    .aliases(&["SC2038"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for run in runs(view) {
        for ran in run.commands().filter(|ran| ran.command.program() == Some("find")) {
            let next = run.script.commands.iter().find(|other| {
                other.pipeline.id == ran.command.pipeline.id
                    && other.pipeline.index == ran.command.pipeline.index + 1
            });
            let Some(xargs) = next.filter(|next| next.words.first().is_some_and(|word| word.text == "xargs"))
            else {
                continue;
            };
            let zero = |command: &ShellCommand, flags: &[&str]| {
                command
                    .words
                    .iter()
                    .any(|word| flags.contains(&word.text.as_str()))
            };
            let safe = zero(ran.command, &["-print0", "-printf", "-exec"])
                || zero(xargs, &["-0", "--null", "-d", "--delimiter"])
                || xargs
                    .words
                    .iter()
                    .any(|word| word.text.starts_with("-0") || word.text.starts_with("-r0"));
            if !safe {
                checker.report(
                    Finding::new(
                        &view.source,
                        ran.command.span,
                        "names with blanks become several arguments",
                    )
                    .help("write `-print0 | xargs -0`, or `-exec ... +`"),
                );
            }
        }
    }
}
