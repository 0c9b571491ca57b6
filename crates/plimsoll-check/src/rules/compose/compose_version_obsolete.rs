//! The file says which version of the format it is in.
//!
//! ## Why
//! Compose has ignored `version:` since 2020: the newest format is always meant. It only makes Compose print a warning at
//! every command.
//!
//! ## Bad
//! ```yaml
//! version: "3.8"
//! services:
//!   web:
//!     image: nginx:1.29
//! ```
//!
//! ## Good
//! ```yaml
//! services:
//!   web:
//!     image: nginx:1.29
//! ```

use plimsoll_diagnostics::{Fix, Severity, Span};

use crate::view::ComposeView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule =
    Rule::new("compose-version-obsolete", Severity::Info).checks(&[Check::Compose(check)]);

fn check(view: &ComposeView, checker: &mut Checker<'_>) {
    for warning in view
        .diagnostics
        .iter()
        .filter(|found| found.code == "compose-version")
    {
        let Some(span) = warning.span() else { continue };
        let source = &warning.source;
        let line = source.line_at(span.start);
        let mut end = (line.end + 1).min(source.text.len());
        // The blank line that set it apart goes as well, at the top of a file.
        if source.text[..line.start].trim().is_empty() && source.text[end..].starts_with('\n') {
            end += 1;
        }
        let mut finding =
            Finding::new(source, span, "`version` is obsolete and has no effect").help("take the line out");
        if source.slice(line).starts_with("version") {
            let line = Span::new(line.start, end);
            finding = finding.fix(Fix::safe("take it out").delete(source, line));
        }
        checker.report(finding);
    }
}
