//! `--platform=$TARGETPLATFORM` is what FROM does anyway.
//!
//! ## Why
//! Without the flag, a base image is taken for the platform of the result. The flag only makes the reader wonder.
//!
//! ## Bad
//! ```dockerfile
//! FROM --platform=$TARGETPLATFORM alpine:3.22
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! ```

use plimsoll_diagnostics::{Fix, Severity, Span};

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("platform-redundant", Severity::Warning)
    .aliases(&["DL3065", "RedundantTargetPlatform"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for stage in &view.stages {
        let from = view.from(stage);
        let Some(platform) = &from.platform else { continue };
        if !matches!(platform.value.as_str(), "$TARGETPLATFORM" | "${TARGETPLATFORM}") {
            continue;
        }
        let keyword = view.step(stage.from).instruction.keyword.span;
        checker.report(
            Finding::new(
                &view.source,
                platform.span,
                "setting platform to the target platform is redundant, as this is the default",
            )
            .help("remove the flag")
            .fix(Fix::safe("remove the flag").replace(
                &view.source,
                Span::new(keyword.end, from.image.span.start),
                " ",
            )),
        );
    }
}
