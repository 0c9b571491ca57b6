//! A whole root file system is copied out of a stage or image.
//!
//! ## Why
//! Everything comes along, build tools and caches too, in one layer that shares nothing with any other image.
//!
//! ## Bad
//! ```dockerfile
//! FROM debian:12 AS build
//! FROM scratch
//! COPY --from=build / /
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM debian:12 AS build
//! FROM scratch
//! COPY --from=build /app /app
//! ```

use plimsoll_diagnostics::Severity;
use plimsoll_dockerfile::InstructionKind;

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

use super::copies;

pub(super) const RULE: Rule = Rule::new("copy-root-filesystem", Severity::Warning)
    .aliases(&["DL3067"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for step in view.steps() {
        let InstructionKind::Copy(copy) = step.effective() else {
            continue;
        };
        if copy.from.is_none() {
            continue;
        }
        let root = copies::paths(&copy.sources).find(|path| matches!(path.value.as_str(), "/" | "/." | "/*"));
        if let Some(root) = root {
            checker.report(
                Finding::new(&view.source, root.span, "the whole root file system is copied")
                    .help("copy what the program needs; to build on all of it, write `FROM` that stage"),
            );
        }
    }
}
