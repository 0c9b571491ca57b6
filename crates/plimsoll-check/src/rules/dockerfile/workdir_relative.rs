//! WORKDIR is relative, and nothing says to what.
//!
//! ## Why
//! It starts from the WORKDIR of the base image, which may change in the next version.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! WORKDIR app
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! WORKDIR /app
//! ```

use plimsoll_diagnostics::{Fix, Severity};
use plimsoll_dockerfile::InstructionKind;

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("workdir-relative", Severity::Warning)
    .aliases(&["DL3000", "WorkdirRelativePath", "DS-0009", "CKV_DOCKER_10"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for stage in &view.stages {
        let mut absolute = false;
        let below = view.chain(stage).skip(1).flat_map(|stage| view.steps_of(stage));
        absolute |= below
            .into_iter()
            .any(|step| matches!(step.kind(), InstructionKind::Workdir(_)));
        for step in view.steps_of(stage) {
            let InstructionKind::Workdir(folder) = step.effective() else {
                continue;
            };
            let Some(path) = view.expand(step.at, folder) else {
                absolute = true;
                continue;
            };
            let path = path.trim_matches('"');
            if path.starts_with(['/', '\\', '~']) || path.as_bytes().get(1) == Some(&b':') {
                absolute = true;
            } else if !absolute {
                absolute = true;
                let finding = Finding::new(
                    &view.source,
                    folder.span,
                    format!(
                        "relative workdir `{path}` can have unexpected results if the base image changes"
                    ),
                )
                .help(format!("write `/{path}`"));
                let start = folder.span.start + usize::from(folder.value.starts_with(['"', '\'']));
                checker.report(finding.fix(Fix::ask("make it absolute").insert(&view.source, start, "/")));
            }
        }
    }
}
