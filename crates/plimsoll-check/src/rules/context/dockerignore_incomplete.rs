//! Files are sent to the build that no build needs.
//!
//! ## Why
//! The history of a repository, dependencies that the build installs itself, caches and logs are copied by `COPY . .` unless
//! `.dockerignore` names them. Each of them makes the image larger and the cache miss.
//!
//! ## Bad
//! ```dockerignore
//! *.md
//! ```
//!
//! ## Good
//! ```dockerignore
//! *.md
//! **/.git
//! **/node_modules
//! ```

use plimsoll_diagnostics::{Fix, Severity, Span};

use super::sent::{Needless, needless, takes_all};
use crate::rules::bytes;
use crate::view::ContextView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule =
    Rule::new("dockerignore-incomplete", Severity::Info).checks(&[Check::Context(check)]);

/// The files that say how to build are small, and everybody leaves them in.
const SMALL: [&str; 5] = [
    "Dockerfile*",
    ".dockerignore",
    "compose*.y*ml",
    "docker-compose*.y*ml",
    "**/.gitignore",
];

fn check(view: &ContextView, checker: &mut Checker<'_>) {
    let Some(ignore) = &view.ignore else { return };
    if !takes_all(view, checker.workspace()) {
        return;
    }
    let needless: Vec<Needless> = needless(view, checker.workspace())
        .into_iter()
        .filter(|one| !SMALL.contains(&one.pattern))
        .collect();
    if needless.is_empty() {
        return;
    }
    let saved: u64 = needless.iter().map(|one| one.size).sum();
    let what: Vec<_> = needless
        .iter()
        .map(|one| {
            format!(
                "`{}` ({})",
                one.pattern.trim_start_matches("**/"),
                bytes(one.size)
            )
        })
        .collect();
    let message = format!(
        "{} are sent that no build needs: {}",
        bytes(saved),
        what.join(", ")
    );
    let source = &ignore.source;
    let end = source.text.len();
    let gap = if source.text.is_empty() || source.text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    let lines: String = needless.iter().map(|one| format!("{}\n", one.pattern)).collect();
    let last = source.text.trim_end().len();
    let place = source.line_at(last.saturating_sub(1));
    let fix = Fix::safe("name them").replace(source, Span::new(end, end), format!("{gap}{lines}"));
    checker.report(
        Finding::new(source, place, message)
            .help("name them in .dockerignore")
            .fix(fix),
    );
}
