//! FROM names one platform only.
//!
//! ## Why
//! The image cannot be built for another one then. `$BUILDPLATFORM` is right for stages that cross-compile, no flag for
//! the rest. Stages that say the platform in their name are taken to be meant.
//!
//! ## Bad
//! ```dockerfile
//! FROM --platform=linux/amd64 alpine:3.22
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM --platform=$BUILDPLATFORM alpine:3.22
//! ```

use plimsoll_diagnostics::Severity;

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("platform-constant", Severity::Warning)
    .aliases(&["DL3029", "FromPlatformFlagConstDisallowed"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for stage in &view.stages {
        let Some(platform) = &view.from(stage).platform else {
            continue;
        };
        let name = stage
            .name
            .as_ref()
            .map(|name| name.value.to_lowercase())
            .unwrap_or_default();
        let mut parts = platform.value.split('/').skip(1);
        let says_so = parts.any(|part| !part.is_empty() && name.contains(part));
        if platform.value.contains('$') || says_so {
            continue;
        }
        let message = format!(
            "FROM --platform should not use the constant value `{}`",
            platform.value
        );
        checker.report(
            Finding::new(&view.source, platform.span, message)
                .help("remove the flag, write `$BUILDPLATFORM`, or say the platform in the stage's name"),
        );
    }
}
