//! wget fills the log with its progress bar.
//!
//! ## Why
//! Without a terminal the bar is a line of dots for every 50 kB.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! RUN wget https://example.com/a.tar.gz
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! RUN wget -q https://example.com/a.tar.gz
//! ```

use plimsoll_diagnostics::{Fix, Severity};

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

use super::edits::add_option;
use super::runs::called;

pub(super) const RULE: Rule = Rule::new("wget-progress", Severity::Info)
    .aliases(&["DL3047"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for ran in called(view, &["wget"]) {
        let args = ran.command.args();
        let quiet = args.iter().any(|word| {
            let letters = word
                .text
                .strip_prefix('-')
                .filter(|letters| !letters.starts_with('-'));
            letters.is_some_and(|letters| {
                letters.contains('q') || letters.contains("nv") || letters == "o" || letters == "a"
            })
        });
        let named = ran.command.has_flag(
            None,
            &[
                "--progress",
                "--quiet",
                "--no-verbose",
                "--output-file",
                "--append-output",
                "--version",
                "--help",
                "--spider",
            ],
        );
        let logged = ran.command.redirects.iter().any(|one| one.descriptor == Some(2));
        let Some(program) = ran
            .command
            .program_word()
            .filter(|_| !quiet && !named && !logged && !args.is_empty())
        else {
            continue;
        };
        let busybox = view
            .base_image(match ran.of.step.stage {
                Some(stage) => stage,
                None => continue,
            })
            .is_some_and(|name| name.contains("alpine"));
        let finding = Finding::new(&view.source, program.span, "the progress of wget fills the log");
        // That of busybox knows no --progress.
        checker.report(match busybox {
            true => finding.help("add `-q`"),
            false => finding.help("add `--progress=dot:giga`, or `-q`").fix(add_option(
                Fix::safe("show little progress"),
                view,
                ran,
                program,
                "--progress=dot:giga",
            )),
        });
    }
}
