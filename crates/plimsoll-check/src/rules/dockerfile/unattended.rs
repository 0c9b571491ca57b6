//! What the rules about package managers that ask have in common.

use plimsoll_diagnostics::Fix;

use crate::view::DockerfileView;
use crate::{Checker, Finding};

use super::edits::add_option;
use super::packages::Call;
use super::runs::Ran;

/// Reports a call that would ask a question.
pub(super) fn report(view: &DockerfileView, checker: &mut Checker<'_>, ran: Ran<'_>, call: &Call<'_>) {
    let names = [
        "--yes",
        "--assumeyes",
        "--assume-yes",
        "--non-interactive",
        "-n",
        "--no-confirm",
        "--force-yes",
    ];
    let answered = ran.command.pipeline.index > 0
        || ran.command.redirects.iter().any(|one| {
            one.target.is_some()
                && one.descriptor.is_none_or(|fd| fd == 0)
                && one.kind == crate::shell::RedirectKind::Read
        });
    if ran.command.has_flag(Some('y'), &names) || answered {
        return;
    }
    let program = ran.command.program().unwrap_or_default();
    checker.report(
        Finding::new(
            &view.source,
            call.verb.span,
            format!("`{program}` asks a question that nobody answers"),
        )
        .help("add `-y`")
        .fix(add_option(Fix::safe("add `-y`"), view, ran, call.verb, "-y")),
    );
}
