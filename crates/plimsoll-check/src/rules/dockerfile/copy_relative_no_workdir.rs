//! A relative COPY target stands in a stage without WORKDIR.
//!
//! ## Why
//! Where it goes depends on the WORKDIR of the base image, which is `/` in most and may change in the next version.
//!
//! ## Bad
//! ```dockerfile
//! FROM scratch
//! COPY app config/
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM scratch
//! WORKDIR /app
//! COPY app config/
//! ```

use plimsoll_diagnostics::Severity;
use plimsoll_dockerfile::InstructionKind;

use crate::view::{DockerfileView, Stage};
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("copy-relative-no-workdir", Severity::Warning)
    .aliases(&["DL3045"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for step in view.steps() {
        let InstructionKind::Copy(copy) = step.effective() else {
            continue;
        };
        let Some(stage) = step.stage else { continue };
        let Some(target) = view.expand(step.at, &copy.destination) else {
            continue;
        };
        let absolute =
            target.starts_with('/') || target.as_bytes().get(1) == Some(&b':') || target.starts_with('\\');
        if absolute
            || target.is_empty()
            || has_workdir(view, stage, step.at)
            || base_has_workdir(view, stage, checker)
        {
            continue;
        }
        let message = format!("no WORKDIR says where `{target}` is");
        checker.report(
            Finding::new(&view.source, copy.destination.span, message)
                .help("set WORKDIR, or write an absolute path"),
        );
    }
}

fn has_workdir(view: &DockerfileView, stage: &Stage, at: usize) -> bool {
    let steps = view
        .chain(stage)
        .flat_map(|one| view.steps_of(one).map(move |step| (one.index, step)));
    let mut before = steps
        .into_iter()
        .filter(|(index, step)| *index != stage.index || step.at < at);
    before.any(|(_, step)| matches!(step.kind(), InstructionKind::Workdir(_)))
}

/// The base image sets one, as its configuration says when it is at hand.
fn base_has_workdir(view: &DockerfileView, stage: &Stage, checker: &Checker<'_>) -> bool {
    let image = view
        .base_image(stage)
        .and_then(|name| checker.workspace().image(name));
    image.is_some_and(|image| !matches!(image.config.config.working_dir.as_str(), "" | "/"))
}
