//! The base image has no tag.
//!
//! ## Why
//! Without a tag it is `latest`: whatever was pushed last. Tomorrow that is another version, and nobody can say
//! afterwards which one an image was built on.
//!
//! ## Bad
//! ```dockerfile
//! FROM debian
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM debian:12
//! ```

use plimsoll_diagnostics::Severity;

use crate::rules::compose::images;
use crate::view::{Base, DockerfileView};
use crate::{Check, Checker, Finding, Rule};

use super::images::ImageName;

pub(super) const RULE: Rule = Rule::new("image-untagged", Severity::Warning)
    .aliases(&["DL3006", "CL-0004", "DS-0001", "CKV_DOCKER_7"])
    .checks(&[Check::Dockerfile(check), Check::Compose(images::untagged)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for stage in &view.stages {
        let Base::Image(name) = &stage.base else { continue };
        let image = ImageName::parse(name);
        if image.tag.is_none() && image.digest.is_none() {
            checker.report(
                Finding::new(
                    &view.source,
                    view.from(stage).image.span,
                    format!("`{name}` has no tag, so it is `latest`"),
                )
                .help("name a version, or a digest"),
            );
        }
    }
}
