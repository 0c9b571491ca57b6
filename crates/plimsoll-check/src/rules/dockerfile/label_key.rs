//! The key of a label is not of the usual form.
//!
//! ## Why
//! Keys are lower case letters, digits, dots and dashes, and begin and end with a letter or digit. Those of
//! `com.docker`, `io.docker` and `org.dockerproject` are Docker's own.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! LABEL Maintained_By="ada"
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! LABEL com.example.maintained-by="ada"
//! ```

use plimsoll_diagnostics::Severity;

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

use super::labels;

pub(super) const RULE: Rule = Rule::new("label-key", Severity::Style)
    .aliases(&["DL3048"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for (_, pair) in labels::all(view) {
        let key = pair.key.value.trim_matches(['"', '\'']);
        if key.contains('$') || key.is_empty() {
            continue;
        }
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let form = key.starts_with(plain)
            && key.ends_with(plain)
            && key
                .chars()
                .all(|c| plain(c) || matches!(c, '.' | '-' | '_' | '/'))
            && !key.contains("..")
            && !key.contains("--");
        let reserved = ["com.docker.", "io.docker.", "org.dockerproject."]
            .iter()
            .any(|own| key.starts_with(own))
            && !key.starts_with("com.docker.compose.")
            && !key.starts_with("com.docker.extension")
            && !key.starts_with("com.docker.desktop");
        let message = match (form, reserved) {
            (true, false) => continue,
            (_, true) => format!("`{key}` is a name of Docker's own"),
            _ => format!("`{key}` is no usual key of a label"),
        };
        checker.report(
            Finding::new(&view.source, pair.key.span, message)
                .help("use lower case, dots and dashes, after a domain of your own: `com.example.key`"),
        );
    }
}
