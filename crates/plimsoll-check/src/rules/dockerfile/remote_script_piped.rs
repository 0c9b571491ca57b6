//! A script from the network is run without anybody looking at it.
//!
//! ## Why
//! Whoever can change what that address serves can put anything into the image, today or next year, and the layer says
//! nothing about what it was. Download it, check its hash, then run it; or take a package.
//!
//! ## Bad
//! ```dockerfile
//! FROM debian:12
//! RUN curl -fsSL https://example.com/install.sh | sh
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM debian:12
//! ADD --checksum=sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d https://example.com/install.sh /tmp/
//! RUN sh /tmp/install.sh
//! ```

use plimsoll_diagnostics::Severity;

use crate::shell::ShellCommand;
use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

use super::runs::runs;

pub(super) const RULE: Rule =
    Rule::new("remote-script-piped", Severity::Warning).checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for run in runs(view) {
        for command in run.script.commands.iter().filter(|command| runs_text(command)) {
            let piped = |other: &&ShellCommand| {
                other.pipeline.id == command.pipeline.id
                    && other.pipeline.index < command.pipeline.index
                    && fetches(other)
            };
            let substituted = |other: &&ShellCommand| {
                other.place.substitution
                    && fetches(other)
                    && command.span.start < other.span.start
                    && other.span.end <= command.span.end
            };
            let source = run
                .script
                .commands
                .iter()
                .find(|other| piped(other) || substituted(other));
            let Some(source) = source else { continue };
            let name = command.program().unwrap_or_default();
            let message = format!(
                "what `{}` fetches is run by `{name}` unseen",
                source.program().unwrap_or_default()
            );
            checker.report(
                Finding::new(&view.source, source.span.join(command.span), message)
                    .help("download it first and check its hash: `ADD --checksum=sha256:... URL /tmp/`"),
            );
            break;
        }
    }
}

fn fetches(command: &ShellCommand) -> bool {
    matches!(command.program(), Some("curl" | "wget" | "http" | "fetch"))
}

fn runs_text(command: &ShellCommand) -> bool {
    let Some(program) = command.program() else {
        return false;
    };
    let interprets = [
        "sh", "bash", "ash", "dash", "zsh", "ksh", "python", "python3", "perl", "ruby", "node", "php",
        "source", ".", "eval",
    ];
    // `python3 -c '...'` and `node script.js` read something else from the pipe.
    let own = matches!(program, "python" | "python3" | "perl" | "ruby" | "node" | "php")
        && command
            .args()
            .iter()
            .any(|word| word.is_literal() && word.text != "-" && word.text != "--");
    interprets.contains(&program) && !own
}
