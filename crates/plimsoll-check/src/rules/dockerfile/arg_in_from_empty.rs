//! The base image has no valid name unless a build argument is given.
//!
//! ## Why
//! Without `--build-arg` the argument is empty, and `FROM alpine:` cannot be built.
//!
//! ## Bad
//! ```dockerfile
//! ARG TAG
//! FROM busybox:${TAG}
//! ```
//!
//! ## Good
//! ```dockerfile
//! ARG TAG=1.37
//! FROM busybox:${TAG}
//! ```

use plimsoll_diagnostics::Severity;

use crate::view::{DockerfileView, Variable};
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("arg-in-from-empty", Severity::Error)
    .aliases(&["InvalidDefaultArgInFrom"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for stage in &view.stages {
        let image = &view.from(stage).image;
        if !image.value.contains('$') {
            continue;
        }
        let value = |name: &str| match view.variable(stage.from, name) {
            Variable::Known(value) => Some(value),
            Variable::Unknown => Some(String::new()),
            Variable::Undefined => None,
        };
        let escape = view.dockerfile.directives.escape;
        let Ok(expanded) = plimsoll_dockerfile::expand(&image.value, escape, &value) else {
            continue;
        };
        let stage_name = view.stage_named(&expanded.text, stage.index).is_some();
        if !expanded.undefined.is_empty() || stage_name || expanded.text == "scratch" {
            continue;
        }
        if expanded.text.parse::<plimsoll_oci::ImageRef>().is_err() {
            let message = format!(
                "the default of `{}` results in an empty or invalid base image name",
                image.value
            );
            checker.report(Finding::new(&view.source, image.span, message).help("give the ARG a default"));
        }
    }
}
