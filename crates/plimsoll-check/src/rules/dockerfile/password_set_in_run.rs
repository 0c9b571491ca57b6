//! A RUN sets a password.
//!
//! ## Why
//! The password, or its hash, is in the layer and in the history for everybody who has the image, and the same in every
//! container.
//!
//! ## Bad
//! ```dockerfile
//! FROM debian:12
//! RUN echo "root:toor" | chpasswd
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM debian:12
//! RUN useradd --system --uid 10001 app
//! USER 10001
//! ```

use plimsoll_diagnostics::Severity;

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

use super::runs::called;

pub(super) const RULE: Rule = Rule::new("password-set-in-run", Severity::Error)
    .aliases(&["CKV2_DOCKER_17"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for ran in called(view, &["chpasswd", "useradd", "usermod", "adduser"]) {
        let program = ran.command.program().unwrap_or_default();
        let sets = match program {
            "chpasswd" => true,
            "adduser" => false,
            _ => {
                let password = ran.command.flag_value(&["-p", "--password"]);
                password.is_some_and(|password| !matches!(password, "" | "*" | "!" | "!!" | "x"))
            }
        };
        if sets {
            checker.report(
                Finding::new(&view.source, ran.command.program_word().map_or(ran.command.span, |word| word.span), format!("`{program}` sets a password that is part of the image"))
                    .help("nobody has to log in to a container; for a service that needs one, give it at run time as a file"),
            );
        }
    }
}
