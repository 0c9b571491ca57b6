//! The file is not what Compose understands.
//!
//! ## Why
//! Compose refuses the whole project for one unknown key, one value of the wrong type, or a name of something that is not
//! there. Each of them is a finding of its own here, and the rest of the file is checked when that is possible.
//!
//! ## Bad
//! ```yaml
//! services:
//!   web:
//!     image: nginx:1.29
//!     enviroment:
//!       MODE: production
//! ```
//!
//! ## Good
//! ```yaml
//! services:
//!   web:
//!     image: nginx:1.29
//!     environment:
//!       MODE: production
//! ```

use plimsoll_diagnostics::{Diagnostic, Fix, Severity};

use crate::view::ComposeView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("compose-schema", Severity::Error).checks(&[Check::Compose(check)]);

fn check(view: &ComposeView, checker: &mut Checker<'_>) {
    for error in view
        .diagnostics
        .iter()
        .filter(|found| found.severity == Severity::Error)
    {
        let span = error.span().unwrap_or_default();
        let mut finding = Finding::new(&error.source, span, error.message.clone());
        if let Some(help) = &error.help {
            finding = finding.help(help);
        }
        if let Some(fix) = fix(error) {
            finding = finding.fix(fix);
        }
        checker.report(finding);
    }
}

/// A key or name with a single near one is a slip of the hand.
fn fix(error: &Diagnostic) -> Option<Fix> {
    let near = error
        .help
        .as_deref()?
        .strip_prefix("did you mean `")?
        .strip_suffix("`?")?;
    let span = error.span()?;
    let text = error.source.slice(span);
    let is_name = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.');
    let is_key = error.code == "compose-key" && text.chars().all(is_name);
    is_key.then(|| Fix::safe(format!("write `{near}`")).replace(&error.source, span, near))
}
