//! A user with a high number is made without `-l`.
//!
//! ## Why
//! `useradd` writes `/var/log/lastlog` with room for every number up to the highest: sparse on disk, but gigabytes in a
//! layer of a builder that does not know holes.
//!
//! ## Bad
//! ```dockerfile
//! FROM debian:12
//! RUN useradd -u 1000710000 app
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM debian:12
//! RUN useradd -l -u 1000710000 app
//! ```

use plimsoll_diagnostics::{Fix, Severity};

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

use super::edits::add_option;
use super::runs::called;

pub(super) const RULE: Rule = Rule::new("useradd-sparse-file", Severity::Warning)
    .aliases(&["DL3046"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for ran in called(view, &["useradd"]) {
        let number = ran.command.flag_value(&["-u", "--uid"]);
        let high =
            number.is_some_and(|number| number.len() > 5 && number.bytes().all(|byte| byte.is_ascii_digit()));
        let Some(program) = ran.command.program_word().filter(|_| high) else {
            continue;
        };
        if ran.command.has_flag(Some('l'), &["--no-log-init"]) {
            continue;
        }
        checker.report(
            Finding::new(
                &view.source,
                ran.command.span,
                "a high user number makes `/var/log/lastlog` huge",
            )
            .help("add `-l`")
            .fix(add_option(Fix::safe("add `-l`"), view, ran, program, "-l")),
        );
    }
}
