//! `$@` or an array without quotes is split at the blanks of its elements.
//!
//! ## Why
//! `"$@"` gives every element as one argument, whatever is in it.
//!
//! ## Bad
//! ```dockerfile
//! FROM debian:12
//! ENTRYPOINT ["sh", "-c", "exec app $@", "--"]
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM debian:12
//! ENTRYPOINT ["sh", "-c", "exec app \"$@\"", "--"]
//! ```

use plimsoll_diagnostics::Severity;

use crate::shell::ExpansionKind;
use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("shell-unquoted-array", Severity::Warning)
    .aliases(&["SC2068"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    let scripts = view.steps().filter_map(|step| view.script(step.at));
    for command in scripts.flat_map(|script| &script.commands) {
        for one in command
            .args()
            .iter()
            .flat_map(|word| &word.expansions)
            .filter(|one| !one.quoted)
        {
            if matches!(&one.kind, ExpansionKind::Array(name) if name != "*") {
                checker.report(
                    Finding::new(&view.source, one.span, "the elements are split at their blanks")
                        .help("put double quotes around it"),
                );
            }
        }
    }
}
