//! apk leaves its index in the layer.
//!
//! ## Why
//! Without `--no-cache`, apk keeps the index of the repositories in `/var/cache/apk`. With it, no `apk update` is
//! needed either.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! RUN apk add curl
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! RUN apk add --no-cache curl
//! ```

use plimsoll_diagnostics::{Fix, Severity};

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

use super::packages::APK;
use super::runs::commands;

pub(super) const RULE: Rule = Rule::new("apk-cache", Severity::Info)
    .aliases(&["DL3019", "DKL-DI-0004", "DS-0025"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for ran in commands(view) {
        let Some(call) = APK.call(ran.command, &["add"]) else {
            continue;
        };
        let removed = ran.of.script.commands.iter().any(|command| {
            command.program() == Some("rm")
                && command
                    .args()
                    .iter()
                    .any(|word| word.text.starts_with("/var/cache/apk"))
        });
        let told = ran
            .command
            .has_flag(None, &["--no-cache", "--cache-dir", "--root", "-p"]);
        if told || removed || ran.of.is_mounted("/var/cache/apk") || ran.of.is_mounted("/etc/apk/cache") {
            continue;
        }
        let finding = Finding::new(
            &view.source,
            call.verb.span,
            "the index of apk stays in the layer",
        )
        .help("add `--no-cache`");
        checker.report(match ran.of.script.shell {
            Some(_) => finding.fix(Fix::safe("add `--no-cache`").insert(
                &view.source,
                call.verb.span.end,
                " --no-cache",
            )),
            None => finding,
        });
    }
}
