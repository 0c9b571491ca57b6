//! COPY --from names the stage that it stands in.
//!
//! ## Why
//! A stage cannot copy from itself: it is not finished yet.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22 AS build
//! COPY --from=build /a /b
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22 AS build
//! RUN cp /a /b
//! ```

use plimsoll_diagnostics::Severity;
use plimsoll_dockerfile::InstructionKind;

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("copy-from-self", Severity::Error)
    .aliases(&["DL3023", "DS-0006"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for step in view.steps() {
        let InstructionKind::Copy(copy) = step.effective() else {
            continue;
        };
        let (Some(from), Some(stage)) = (&copy.from, step.stage) else {
            continue;
        };
        let named = stage
            .name
            .as_ref()
            .is_some_and(|name| name.value.eq_ignore_ascii_case(&from.value));
        // The name may be an earlier stage's as well.
        let earlier = view.stage_named(&from.value, stage.index).is_some();
        if (named || from.value.parse() == Ok(stage.index)) && !earlier {
            let message = format!("`{}` is the stage that this COPY stands in", from.value);
            checker.report(
                Finding::new(&view.source, from.span, message)
                    .help("copy from an earlier stage, or use `RUN cp`"),
            );
        }
    }
}
