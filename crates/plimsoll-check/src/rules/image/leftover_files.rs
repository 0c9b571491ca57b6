//! The image has files in it that only a build needs.
//!
//! ## Why
//! A repository's `.git`, caches of package managers, editors' files and the Dockerfile itself make the image larger, and
//! `.git` has the whole history in it: deleted secrets too.
//!
//! ## Bad
//! ```dockerfile
//! FROM node:22-slim
//! COPY . /app
//! ```
//!
//! ## Good
//! ```dockerfile
//! # .dockerignore has `.git`
//! FROM node:22-slim
//! COPY . /app
//! ```

use plimsoll_diagnostics::Severity;

use super::look::at_layer;
use crate::facts::ImageFacts;
use crate::{Check, Checker, Rule};

pub(super) const RULE: Rule = Rule::new("leftover-files", Severity::Info)
    .aliases(&["DKL-LI-0003"])
    .checks(&[Check::Image(check)]);

fn check(image: &ImageFacts, checker: &mut Checker<'_>) {
    for file in image.files.iter().flat_map(|files| &files.leftovers) {
        let message = format!(
            "`{}` is left in the image, {}",
            file.path,
            crate::rules::bytes(file.size)
        );
        let help = match file.path.contains("cache") {
            true => "delete it in the instruction that makes it, or use `RUN --mount=type=cache`",
            false => "name it in .dockerignore, or copy only what is needed",
        };
        checker.report(at_layer(image, file.layer, message).help(help));
    }
}
