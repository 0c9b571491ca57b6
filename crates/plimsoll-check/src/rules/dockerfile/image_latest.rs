//! The base image is taken by its tag `latest`.
//!
//! ## Why
//! `latest` is whatever was pushed last: tomorrow another major version, and nobody can say afterwards which one an
//! image was built on.
//!
//! ## Bad
//! ```dockerfile
//! FROM node:latest
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM node:22.17-alpine3.22
//! ```

use plimsoll_diagnostics::Severity;

use crate::rules::compose::images;
use crate::rules::image::look;
use crate::view::{Base, DockerfileView};
use crate::{Check, Checker, Finding, Rule};

use super::images::ImageName;

pub(super) const RULE: Rule = Rule::new("image-latest", Severity::Warning)
    .aliases(&[
        "DL3007",
        "DKL-DI-0006",
        "CL-0004",
        "DS-0001",
        "CKV_DOCKER_7",
        "CIS-5.28",
    ])
    .checks(&[
        Check::Dockerfile(check),
        Check::Compose(images::latest),
        Check::Image(look::image_latest),
    ]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for stage in &view.stages {
        let Base::Image(name) = &stage.base else { continue };
        let image = ImageName::parse(name);
        if image.tag == Some("latest") && image.digest.is_none() {
            let message = format!("`{}` is another image every time it is released", name);
            checker.report(
                Finding::new(&view.source, view.from(stage).image.span, message)
                    .help("name a version, or a digest"),
            );
        }
    }
}
