//! Some instructions are in upper case and some are not.
//!
//! ## Why
//! Instructions in one case stand out from their arguments. What most of the file does is taken to be meant.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! run true
//! CMD ["sh"]
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! RUN true
//! CMD ["sh"]
//! ```

use plimsoll_diagnostics::{Fix, Severity};

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("instruction-case", Severity::Style)
    .aliases(&["ConsistentInstructionCasing"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    let keywords = || {
        view.dockerfile
            .instructions
            .iter()
            .map(|instruction| &instruction.keyword)
    };
    let lower = keywords()
        .filter(|word| word.value.chars().all(char::is_lowercase))
        .count();
    let upper = keywords()
        .filter(|word| word.value.chars().all(char::is_uppercase))
        .count();
    let (wanted, name): (fn(&str) -> String, _) = match lower > upper {
        true => (|word| word.to_lowercase(), "lowercase"),
        false => (|word| word.to_uppercase(), "uppercase"),
    };
    for word in keywords().filter(|word| word.value != wanted(&word.value)) {
        let message = format!("`{}` should match the case of the majority ({name})", word.value);
        checker.report(
            Finding::new(&view.source, word.span, message)
                .help(format!("write `{}`", wanted(&word.value)))
                .fix(Fix::safe("match the case").replace(&view.source, word.span, wanted(&word.value))),
        );
    }
}
