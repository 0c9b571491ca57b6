//! A typographic quote or dash stands where a plain one is meant.
//!
//! ## Why
//! Web pages and word processors turn `"` into `“` and `--` into `–`. They look right, and are ordinary characters to
//! the builder: the quotes become part of the value, and a list with them is no JSON.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! ENV GREETING=“hello”
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! ENV GREETING="hello"
//! ```

use plimsoll_diagnostics::{Fix, Severity};

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule =
    Rule::new("typographic-character", Severity::Warning).checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for code in ["typographic-quote", "json-quotes", "typographic-dash"] {
        for found in view.warnings(code) {
            let Some(span) = found.span() else { continue };
            let text = view.source.slice(span);
            let plain: String = text
                .chars()
                .map(|c| match c {
                    '“' | '”' | '„' | '«' | '»' => '"',
                    '‘' | '’' if code == "typographic-quote" => '\'',
                    '‘' | '’' | '\'' if code == "json-quotes" => '"',
                    c => c,
                })
                .collect();
            let plain = match code {
                "typographic-dash" => format!(
                    "--{}",
                    text.trim_start_matches(['–', '—', '―', '‒', '−', '‐', '-'])
                ),
                _ => plain,
            };
            let mut finding = Finding::new(&view.source, span, found.message.clone());
            if let Some(help) = &found.help {
                finding = finding.help(help.clone());
            }
            if plain != text {
                // A list of single quotes may have been meant for the shell's test.
                let fix = if code == "json-quotes" {
                    Fix::ask("write plain quotes")
                } else {
                    Fix::safe("write plain characters")
                };
                finding = finding.fix(fix.replace(&view.source, span, plain));
            }
            checker.report(finding);
        }
    }
}
