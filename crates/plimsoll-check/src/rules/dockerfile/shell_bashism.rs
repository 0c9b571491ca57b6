//! A RUN uses what bash has and `/bin/sh` need not have.
//!
//! ## Why
//! RUN is read by `/bin/sh`: dash on Debian, busybox on Alpine. `[[`, `source`, `&>`, arrays or `<(...)` fail there, or
//! mean something else. Where bash is wanted, SHELL says so. On images whose `sh` is bash (Fedora, Rocky, Amazon)
//! nothing is said.
//!
//! ## Bad
//! ```dockerfile
//! FROM debian:12
//! RUN source /etc/profile && app
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM debian:12
//! SHELL ["/bin/bash", "-c"]
//! RUN source /etc/profile && app
//! ```

use plimsoll_diagnostics::{Severity, Span};

use crate::shell::Shell;
use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

use super::images::ImageName;
use super::runs::{Ran, runs};

pub(super) const RULE: Rule = Rule::new("shell-bashism", Severity::Warning)
    .aliases(&[
        "SC3010", "SC3014", "SC3020", "SC3001", "SC3030", "SC3037", "SC3046",
    ])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for run in runs(view).filter(|run| run.script.shell == Some(Shell::Posix)) {
        let image = run
            .step
            .stage
            .and_then(|stage| view.base_image(stage))
            .map(ImageName::parse);
        let Some(image) = image else { continue };
        let tag = image.tag.unwrap_or_default();
        let official = image.official().unwrap_or_default();
        let busybox = matches!(official, "alpine" | "busybox") || tag.contains("alpine");
        let dash = matches!(
            official,
            "debian"
                | "ubuntu"
                | "node"
                | "python"
                | "golang"
                | "ruby"
                | "rust"
                | "php"
                | "buildpack-deps"
                | "gcc"
                | "perl"
                | "nginx"
                | "httpd"
                | "postgres"
                | "redis"
        );
        if !busybox && !dash {
            continue;
        }
        for ran in run.commands().filter(|ran| !ran.command.place.nested) {
            if let Some((span, message)) = bashism(view, ran, busybox) {
                checker.report(
                    Finding::new(&view.source, span, message).help(
                        "write it for `sh`, or set `SHELL [\"/bin/bash\", \"-c\"]` where bash is there",
                    ),
                );
                break;
            }
        }
    }
}

fn bashism(view: &DockerfileView, ran: Ran<'_>, busybox: bool) -> Option<(Span, String)> {
    let command = ran.command;
    let word = command.program_word();
    let says = |what: &str| {
        Some((
            word.map_or(command.span, |word| word.span),
            format!("`{what}` is not known to `/bin/sh`"),
        ))
    };
    match command.program() {
        // Busybox has these two.
        Some("[[") if !busybox => return says("[["),
        Some("source") if !busybox => return says("source"),
        Some("declare") => return says("declare"),
        Some("typeset") => return says("typeset"),
        Some("pushd") => return says("pushd"),
        Some("shopt") => return says("shopt"),
        Some("[" | "test") if !busybox => {
            let equals = command
                .args()
                .iter()
                .find(|word| word.text == "==" && !word.quoted);
            if let Some(equals) = equals {
                return Some((
                    equals.span,
                    "`==` in `[` is not known to `/bin/sh`: write `=`".to_owned(),
                ));
            }
        }
        _ => {}
    }
    if let Some(array) = command.assignments.iter().find(|one| one.value.is_none()) {
        return Some((array.span, "`/bin/sh` has no arrays".to_owned()));
    }
    let both = command
        .redirects
        .iter()
        .find(|one| view.source.slice(one.span).starts_with("&>"));
    if let Some(both) = both {
        return Some((
            both.span,
            "`&>` sends the command to the background in `/bin/sh`: write `> FILE 2>&1`".to_owned(),
        ));
    }
    let mut parts = command.words.iter().flat_map(|word| &word.expansions);
    let process = parts.find(|one| view.source.slice(one.span).starts_with(['<', '>']));
    process.map(|one| (one.span, "`<(...)` is not known to `/bin/sh`".to_owned()))
}
