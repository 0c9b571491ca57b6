//! A COPY names a file that .dockerignore leaves out.
//!
//! ## Why
//! What `.dockerignore` excludes is not there for the build: the COPY fails, or copies less than it says.
//!
//! ## Bad
//! ```dockerfile
//! FROM nginx:1.29
//! COPY dist /usr/share/nginx/html
//! ```
//! ```dockerignore
//! dist
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM nginx:1.29
//! COPY dist /usr/share/nginx/html
//! ```
//! ```dockerignore
//! dist/*.map
//! ```

use plimsoll_diagnostics::Severity;

use crate::rules::context::sent::copies;
use crate::view::Workspace;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("copy-ignored-file", Severity::Error)
    .aliases(&["CopyIgnoredFile"])
    .checks(&[Check::Cross(check)]);

fn check(workspace: &Workspace, checker: &mut Checker<'_>) {
    for context in &workspace.contexts {
        let Some(ignore) = &context.ignore else { continue };
        let Ok(file) = &ignore.file else { continue };
        for view in context
            .dockerfiles
            .iter()
            .filter_map(|path| workspace.dockerfile(path))
        {
            for (path, span) in copies(view).into_iter().flat_map(|(_, paths)| paths) {
                let is_pattern = path.contains(['*', '?', '[']);
                if path == "." || is_pattern || !file.excludes(&path) || file.may_include_below(&path) {
                    continue;
                }
                let by = file.deciding_rule(&path);
                let line = by.map_or_else(String::new, |rule| {
                    format!("`{}` in line {} of ", rule.pattern, rule.line)
                });
                let message = format!(
                    "`{path}` is left out of the build by {line}`{}`",
                    ignore.source.name
                );
                checker.report(Finding::new(&view.source, span, message).help(format!(
                    "take the line out, or bring the file back with `!{path}`"
                )));
            }
        }
    }
}
