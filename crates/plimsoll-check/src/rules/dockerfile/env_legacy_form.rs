//! ENV or LABEL is written without `=`.
//!
//! ## Why
//! `ENV KEY VALUE` is the old form: it sets one variable only, and takes the rest of the line for its value, comments
//! and all.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! ENV DIR /my data
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! ENV DIR="/my data"
//! ```

use plimsoll_diagnostics::{Fix, Severity, Span};
use plimsoll_dockerfile::{InstructionKind, KeyValue};

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("env-legacy-form", Severity::Style)
    .aliases(&["LegacyKeyValueFormat"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for step in view.steps() {
        let (InstructionKind::Env(pairs) | InstructionKind::Label(pairs)) = step.effective() else {
            continue;
        };
        let [pair] = pairs.as_slice() else { continue };
        let between = Span::new(pair.key.span.end, pair.value.span.start);
        if view.source.slice(between).contains('=') {
            continue;
        }
        let keyword = match step.effective() {
            InstructionKind::Env(_) => "ENV",
            _ => "LABEL",
        };
        let finding = Finding::new(
            &view.source,
            pair.key.span,
            format!("`{keyword} key=value` should be used instead of the legacy `{keyword} key value`"),
        )
        .help("write `=` between the two, and quotes around a value with blanks");
        checker.report(match modern(view, pair) {
            Some(text) => {
                let span = pair.key.span.join(pair.value.span);
                finding.fix(Fix::safe("write `=`").replace(&view.source, span, text))
            }
            None => finding,
        });
    }
}

/// The same with `=`; none where quotes are in the way.
fn modern(view: &DockerfileView, pair: &KeyValue) -> Option<String> {
    let (key, value) = (&pair.key.value, &pair.value.value);
    let plain =
        !value.contains(['"', '\'', '\n', view.dockerfile.directives.escape]) && !key.contains(['"', '\'']);
    let quoted = value.len() > 1
        && value.starts_with('"')
        && value.ends_with('"')
        && !value[1..value.len() - 1].contains(['"', view.dockerfile.directives.escape]);
    // Continuation lines are joined in the value; the blanks of the next line's start are part of it.
    let one_line = !view.source.slice(pair.value.span).contains('\n');
    match (plain && one_line, quoted && one_line) {
        (true, _) if !value.contains(char::is_whitespace) => Some(format!("{key}={value}")),
        (true, _) => Some(format!("{key}=\"{value}\"")),
        (_, true) => Some(format!("{key}={value}")),
        _ => None,
    }
}
