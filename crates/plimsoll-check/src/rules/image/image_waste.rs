//! Much of the image is not seen by any container.
//!
//! ## Why
//! A layer is never changed: what a later one deletes or replaces is downloaded and stored all the same. Delete files in the
//! instruction that makes them, copy with the right owner and mode at once, or let another stage do the work.
//!
//! ## Bad
//! ```dockerfile
//! FROM debian:bookworm-slim
//! COPY data.tar /data.tar
//! RUN tar -xf /data.tar && rm /data.tar
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM debian:bookworm-slim
//! RUN --mount=type=bind,source=data.tar,target=/data.tar tar -xf /data.tar
//! ```

use plimsoll_diagnostics::Severity;

use super::look::at_layer;
use crate::facts::{ImageFacts, WasteFact};
use crate::rules::bytes;
use crate::{Check, Checker, Rule};

pub(super) const RULE: Rule = Rule::new("image-waste", Severity::Warning).checks(&[Check::Image(check)]);

/// Less is not worth a word, and neither is a small part of a large image.
const LEAST: u64 = 1 << 20;
const PART: u64 = 50;

fn check(image: &ImageFacts, checker: &mut Checker<'_>) {
    let Some(files) = &image.files else { return };
    for waste in files.waste.iter().filter(|waste| is_worth_it(waste, image)) {
        let how = if waste.deleted { "deleted" } else { "replaced" };
        let message = format!(
            "`{}` is {how} by a later layer: {} are there for nothing",
            waste.path,
            bytes(waste.size)
        );
        let by = image
            .line_of_layer(waste.by)
            .and_then(|line| image.instructions().nth(line));
        let mut found = at_layer(image, waste.layer, message);
        found = match by {
            Some(by) => found.help(format!(
                "it is {how} by `{}`: do both in one instruction",
                short(&by)
            )),
            None => found.help("do both in one instruction"),
        };
        checker.report(found);
    }
}

fn is_worth_it(waste: &WasteFact, image: &ImageFacts) -> bool {
    waste.size >= LEAST && waste.size * PART >= image.size()
}

fn short(instruction: &str) -> String {
    let text = crate::secret::masked(instruction);
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
