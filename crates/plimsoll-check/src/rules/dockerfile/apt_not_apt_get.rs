//! `apt` is used in a script.
//!
//! ## Why
//! `apt` is for people: what it prints and asks may change from one release to the next, and it says so itself.
//! `apt-get` and `apt-cache` stay as they are.
//!
//! ## Bad
//! ```dockerfile
//! FROM debian:12
//! RUN apt update && apt install -y --no-install-recommends curl && rm -rf /var/lib/apt/lists/*
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM debian:12
//! RUN apt-get update && apt-get install -y --no-install-recommends curl && rm -rf /var/lib/apt/lists/*
//! ```

use plimsoll_diagnostics::{Fix, Severity};

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

use super::runs::called;

pub(super) const RULE: Rule = Rule::new("apt-not-apt-get", Severity::Warning)
    .aliases(&["DL3027", "CKV_DOCKER_9"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for ran in called(view, &["apt"]) {
        let Some(word) = ran.command.program_word() else {
            continue;
        };
        let valued = ["-t", "--target-release", "-o", "--option", "-c"];
        let verb = ran
            .command
            .operands(&valued)
            .next()
            .map_or("", |verb| verb.text.as_str());
        let (program, same) = match verb {
            "update" | "install" | "upgrade" | "remove" | "purge" | "autoremove" | "clean" | "autoclean"
            | "source" | "build-dep" | "download" | "dist-upgrade" | "reinstall" => ("apt-get", true),
            "search" | "show" | "policy" | "depends" | "rdepends" | "madison" => {
                ("apt-cache", verb != "search")
            }
            _ => ("apt-get", false),
        };
        let finding = Finding::new(
            &view.source,
            word.span,
            "`apt` is made for people, not for scripts",
        )
        .help(format!("write `{program}`"));
        // It may be written with its folder.
        checker.report(match same && view.source.slice(word.span) == "apt" {
            true => {
                finding.fix(Fix::safe(format!("write `{program}`")).replace(&view.source, word.span, program))
            }
            false => finding,
        });
    }
}
