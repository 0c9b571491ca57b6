//! The base image is not named by its digest.
//!
//! ## Why
//! A tag can be moved. A digest is one image for ever, and a build of it the same tomorrow; who pins by digest has to
//! see to updates. Looked at only when asked for; policy `production` asks for pinned bases.
//!
//! ## Bad
//! ```dockerfile
//! FROM debian:12
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM debian:12@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
//! ```

use plimsoll_diagnostics::Severity;

use crate::rules::compose::images;
use crate::view::{Base, DockerfileView};
use crate::{Check, Checker, Finding, Rule};

use super::images::ImageName;

pub(super) const RULE: Rule = Rule::new("image-not-digest", Severity::Info)
    .aliases(&["CL-0019"])
    .off()
    .checks(&[Check::Dockerfile(check), Check::Compose(images::not_digest)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for stage in &view.stages {
        let Base::Image(name) = &stage.base else { continue };
        if ImageName::parse(name).digest.is_none() {
            checker.report(
                Finding::new(
                    &view.source,
                    view.from(stage).image.span,
                    format!("`{name}` is not named by its digest"),
                )
                .help(format!("write `{name}@sha256:...`")),
            );
        }
    }
}
