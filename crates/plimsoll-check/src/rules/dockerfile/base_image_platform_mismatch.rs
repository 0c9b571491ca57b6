//! The base image is of another platform than the build.
//!
//! ## Why
//! What is built on it runs under emulation, or not at all. The base image is looked at when it is at hand.
//!
//! ## Bad
//! ```dockerfile
//! FROM arm64v8/alpine:3.22
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! ```

use plimsoll_diagnostics::Severity;

use crate::view::{Base, DockerfileView};
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("base-image-platform-mismatch", Severity::Warning)
    .aliases(&["InvalidBaseImagePlatform"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for stage in &view.stages {
        let Base::Image(name) = &stage.base else { continue };
        let Some(image) = checker.workspace().image(name) else {
            continue;
        };
        let wanted = stage.platform.as_ref().or(view.settings.platform.as_ref());
        let wanted = match wanted.map(|platform| platform.parse::<plimsoll_oci::Platform>()) {
            Some(Ok(platform)) => platform,
            Some(Err(_)) => continue,
            None => plimsoll_oci::Platform::host(),
        };
        let own = image.config.platform();
        if !own.satisfies(&wanted) {
            let message =
                format!("base image `{name}` was pulled with platform `{own}`, expected `{wanted}`");
            checker.report(
                Finding::new(&view.source, view.from(stage).image.span, message)
                    .help("pull it for the platform of the build"),
            );
        }
    }
}
