//! A RUN calls a program that has nothing to do in a build.
//!
//! ## Why
//! There is no init, no screen and nobody at the keyboard: `service`, `shutdown`, `top`, `vim` or `ssh` do nothing that
//! lasts, or nothing at all.
//!
//! ## Bad
//! ```dockerfile
//! FROM debian:12
//! RUN service nginx start
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM debian:12
//! CMD ["nginx", "-g", "daemon off;"]
//! ```

use plimsoll_diagnostics::Severity;

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

use super::runs::called;

pub(super) const RULE: Rule = Rule::new("useless-command", Severity::Info)
    .aliases(&["DL3001"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    const USELESS: [&str; 14] = [
        "free",
        "ifconfig",
        "kill",
        "mount",
        "ps",
        "service",
        "shutdown",
        "ssh",
        "systemctl",
        "telinit",
        "top",
        "vim",
        "nano",
        "poweroff",
    ];
    for ran in called(view, &USELESS) {
        let name = ran.command.program().unwrap_or_default();
        let place = ran.command.place;
        // `systemctl enable` makes links only.
        if place.function
            || (name == "systemctl"
                && !matches!(ran.command.subcommand(), Some("start" | "restart" | "stop")))
        {
            continue;
        }
        let span = ran
            .command
            .program_word()
            .map_or(ran.command.span, |word| word.span);
        let message = format!("`{name}` does nothing that lasts in a build");
        checker.report(Finding::new(&view.source, span, message));
    }
}
