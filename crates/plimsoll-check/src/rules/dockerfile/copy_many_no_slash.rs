//! Several files are copied to a target that is no folder.
//!
//! ## Why
//! With more than one source the target has to be a folder, and that shows by its last slash only.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! COPY package.json yarn.lock /app
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! COPY package.json yarn.lock /app/
//! ```

use plimsoll_diagnostics::{Fix, Severity};
use plimsoll_dockerfile::InstructionKind;

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

use super::copies;

pub(super) const RULE: Rule = Rule::new("copy-many-no-slash", Severity::Error)
    .aliases(&["DL3021", "DS-0011"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for step in view.steps() {
        let (InstructionKind::Copy(copy) | InstructionKind::Add(copy)) = step.effective() else {
            continue;
        };
        let written = &copy.destination.value;
        let target = view
            .expand(step.at, &copy.destination)
            .unwrap_or_else(|| written.clone());
        let folder =
            target.ends_with(['/', '\\']) || target == "." || target.ends_with("/.") || target.contains('$');
        // A comment behind it is another rule's.
        let comment = copies::paths(&copy.sources).any(|path| path.value.starts_with('#'));
        if copy.sources.len() < 2 || folder || comment {
            continue;
        }
        let slash = match view.dockerfile.directives.escape {
            '`' => "\\",
            _ => "/",
        };
        let finding = Finding::new(
            &view.source,
            copy.destination.span,
            "with several sources, the target has to end with a slash",
        )
        .help(format!("write `{written}{slash}`"));
        let quoted = view.source.slice(copy.destination.span).ends_with(['"', '\'']);
        let end = copy.destination.span.end - usize::from(quoted);
        // In the plain form quotes are part of the name.
        let named = !written.contains(['"', '\'']);
        checker.report(match named {
            true => finding.fix(Fix::safe("add the slash").insert(&view.source, end, slash)),
            false => finding,
        });
    }
}
