//! Programs in the image run with the rights of their owner.
//!
//! ## Why
//! `su`, `mount` or `passwd` with the setuid bit are root for a moment, whoever calls them: a fault in one of them is a way
//! from a broken-into program to root. Few containers need any. `no-new-privileges` makes the kernel ignore the bits.
//!
//! ## Bad
//! ```dockerfile
//! FROM debian:bookworm-slim
//! COPY app /app
//! USER 65532
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM debian:bookworm-slim
//! RUN find / -xdev -perm /6000 -type f -exec chmod a-s {} +
//! COPY app /app
//! USER 65532
//! ```

use plimsoll_diagnostics::Severity;

use super::look::{at_layer, finding};
use crate::facts::ImageFacts;
use crate::{Check, Checker, Rule};

pub(super) const RULE: Rule = Rule::new("setuid-files", Severity::Info)
    .aliases(&["CIS-DI-0008", "CIS-4.8"])
    .checks(&[Check::Image(check)]);

/// More of them are counted.
const SHOWN: usize = 6;

fn check(image: &ImageFacts, checker: &mut Checker<'_>) {
    let Some(files) = &image.files else { return };
    let Some(first) = files.setuid.first() else { return };
    let mut names: Vec<_> = files
        .setuid
        .iter()
        .map(|file| format!("`{}`", file.path))
        .collect();
    let more = names.len().saturating_sub(SHOWN);
    names.truncate(SHOWN);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    let message = format!(
        "programs run with the rights of their owner: {}{more}",
        names.join(", ")
    );
    let found = match files.setuid.iter().all(|file| file.layer == first.layer) {
        true => at_layer(image, first.layer, message),
        false => finding(image, message),
    };
    checker.report(found.help(
        "add `RUN find / -xdev -perm /6000 -type f -exec chmod a-s {} +`, or run with `--security-opt no-new-privileges`",
    ));
}
