//! A pattern may match a name that begins with a dash.
//!
//! ## Why
//! A file called `-rf` becomes an option. `./*` cannot.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! RUN rm *.tmp
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! RUN rm ./*.tmp
//! ```

use plimsoll_diagnostics::{Fix, Severity};

use crate::shell::ShellWord;
use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

use super::runs::commands;

pub(super) const RULE: Rule = Rule::new("shell-glob-dash", Severity::Info)
    .aliases(&["SC2035"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for ran in commands(view) {
        let ended = |word: &ShellWord| {
            ran.command
                .args()
                .iter()
                .take_while(|other| other.span.start < word.span.start)
                .any(|other| other.text == "--")
        };
        if matches!(
            ran.command.program(),
            Some(
                "echo"
                    | "printf"
                    | "case"
                    | "find"
                    | "[["
                    | "["
                    | "test"
                    | "for"
                    | "expr"
                    | "apt-get"
                    | "apt"
                    | "yum"
                    | "dnf"
                    | "apk"
            )
        ) {
            continue;
        }
        for word in ran
            .command
            .args()
            .iter()
            .filter(|word| word.glob && !word.quoted && word.text.starts_with('*') && !ended(word))
        {
            checker.report(
                Finding::new(
                    &view.source,
                    word.span,
                    "a name that begins with a dash becomes an option",
                )
                .help(format!("write `./{}`", word.text))
                .fix(Fix::safe("begin with `./`").insert(
                    &view.source,
                    word.span.start,
                    "./",
                )),
            );
        }
    }
}
