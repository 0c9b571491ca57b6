//! COPY --from names neither a stage above nor, by its looks, an image.
//!
//! ## Why
//! A name without a slash, tag or digest that no stage above has is looked up as an image on Docker Hub. Mostly it is a
//! slip, or the stage stands below.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22 AS build
//! FROM alpine:3.22
//! COPY --from=bulid /app /app
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22 AS build
//! FROM alpine:3.22
//! COPY --from=build /app /app
//! ```

use plimsoll_diagnostics::{Fix, Severity, nearest};
use plimsoll_dockerfile::InstructionKind;

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("copy-from-unknown", Severity::Warning)
    .aliases(&["DL3022"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for step in view.steps() {
        let InstructionKind::Copy(copy) = step.effective() else {
            continue;
        };
        let (Some(from), Some(stage)) = (&copy.from, step.stage) else {
            continue;
        };
        let image = from.value.contains(['/', ':', '@']) || from.value.contains('$');
        if image || view.stage_named(&from.value, stage.index + 1).is_some() || from.value.is_empty() {
            continue;
        }
        let finding = Finding::new(
            &view.source,
            from.span,
            format!(
                "no stage above is called `{}`, so it is taken for an image",
                from.value
            ),
        );
        let names = view.stages[..stage.index]
            .iter()
            .filter_map(|stage| stage.name.as_ref());
        let below = view.stages.iter().any(|other| {
            other
                .name
                .as_ref()
                .is_some_and(|name| name.value.eq_ignore_ascii_case(&from.value))
        });
        checker.report(
            match nearest(&from.value, names.map(|name| name.value.as_str())) {
                _ if below => finding.help("a stage of that name stands below: move it up"),
                Some(near) => finding
                    .help(format!("did you mean `{near}`?"))
                    .fix(Fix::ask("write its name").replace(&view.source, from.span, near)),
                None => finding.help("name a stage above, or an image with its tag"),
            },
        );
    }
}
