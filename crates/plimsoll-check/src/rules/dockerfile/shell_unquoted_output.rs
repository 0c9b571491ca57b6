//! The output of a command without quotes is split at its blanks.
//!
//! ## Why
//! What the command prints becomes as many arguments as it has words. Where that is meant, `xargs` or `read` say so.
//! Commands that print one plain word (`uname -m`, `nproc`, `dpkg --print-architecture`) are left alone.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! RUN rm -rf $(cat /list)
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! RUN xargs rm -rf < /list
//! ```

use plimsoll_diagnostics::Severity;

use crate::shell::{Expansion, ExpansionKind, ShellCommand};
use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

use super::runs::{RunStep, runs};

pub(super) const RULE: Rule = Rule::new("shell-unquoted-output", Severity::Warning)
    .aliases(&["SC2046"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for run in runs(view) {
        for ran in run.commands() {
            for word in &ran.command.words {
                for one in word.expansions.iter().filter(|one| !one.quoted) {
                    let output = matches!(one.kind, ExpansionKind::Output { .. })
                        && !view.source.slice(one.span).starts_with(['<', '>']);
                    if !output || prints_one_word(run, one) || ran.command.program() == Some("[[") {
                        continue;
                    }
                    checker.report(
                        Finding::new(
                            &view.source,
                            one.span,
                            "what the command prints is split at its blanks",
                        )
                        .help("put double quotes around it, or say by `xargs` that several words are meant"),
                    );
                }
            }
        }
    }
}

fn prints_one_word(run: RunStep<'_>, one: &Expansion) -> bool {
    let inside = |command: &&ShellCommand| {
        command.place.substitution
            && one.span.start < command.span.start
            && command.span.end < one.span.end + 1
    };
    let Some(last) = run.script.commands.iter().rfind(inside) else {
        return false;
    };
    let args: Vec<&str> = last.args().iter().map(|word| word.text.as_str()).collect();
    match last.program() {
        Some("nproc" | "arch" | "whoami" | "hostname" | "id" | "wc" | "mktemp" | "sha256sum") => true,
        Some("uname") => !args.contains(&"-a"),
        Some("dpkg") => args.contains(&"--print-architecture"),
        Some("rpm") => args.contains(&"-E") || args.contains(&"--eval"),
        Some("lsb_release") => args.iter().any(|arg| arg.contains('s')),
        Some("date") => args.iter().any(|arg| arg.starts_with('+') && !arg.contains(' ')),
        Some("getconf") => true,
        _ => false,
    }
}
