//! There is no .dockerignore, and the whole folder is copied.
//!
//! ## Why
//! `COPY . .` takes all that lies in the folder: the history of the repository, dependencies for another system, logs, and
//! files with passwords. They make the image larger, and a changed log file makes everything after the COPY run again. The
//! fix writes a file for what is really there, without what the Dockerfile names itself or uses. Files with secrets in them
//! are findings of their own, for a program may read them.
//!
//! ## Bad
//! ```dockerfile
//! FROM node:22-slim
//! WORKDIR /app
//! COPY . .
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM node:22-slim
//! WORKDIR /app
//! COPY . .
//! ```
//! ```dockerignore
//! **/.git
//! **/node_modules
//! **/*.log
//! ```

use camino::Utf8Path;
use plimsoll_diagnostics::{Fix, Severity, Span};

use super::sent::{copies, dockerfiles, needless, takes_all};
use crate::rules::bytes;
use crate::view::{ContextView, DockerfileView};
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule =
    Rule::new("dockerignore-missing", Severity::Warning).checks(&[Check::Context(check)]);

/// For a folder with nothing in it yet that would have to be left out.
const USUAL: [&str; 4] = ["**/.git", "**/.DS_Store", "**/*.log", "Dockerfile*"];

fn check(view: &ContextView, checker: &mut Checker<'_>) {
    let workspace = checker.workspace();
    if view.ignore.is_some() || !takes_all(view, workspace) {
        return;
    }
    let dockerfiles = dockerfiles(view, workspace);
    let Some((dockerfile, span)) = dockerfiles.iter().find_map(|dockerfile| {
        let copies = copies(dockerfile);
        let mut paths = copies.iter().flat_map(|(_, paths)| paths);
        let (_, span) = paths.find(|(path, _)| path == ".")?;
        Some((dockerfile, *span))
    }) else {
        return;
    };
    let needless = needless(view, workspace);
    let saved: u64 = needless.iter().map(|one| one.size).sum();
    let mut lines: Vec<String> = needless.iter().map(|one| one.pattern.to_owned()).collect();
    for usual in USUAL.iter().filter(|_| needless.is_empty()) {
        lines.push((*usual).to_owned());
    }
    let message = match saved {
        0 => "the whole folder is copied, and there is no .dockerignore".to_owned(),
        saved => format!(
            "the whole folder is copied, and there is no .dockerignore: {} are sent for nothing",
            bytes(saved)
        ),
    };
    let file = named_as(dockerfile, &view.folder.join(".dockerignore"));
    let fix = Fix::safe("write .dockerignore").create(file, lines.join("\n") + "\n");
    let span = Span::new(span.start, span.end);
    checker.report(
        Finding::new(&dockerfile.source, span, message)
            .help(format!("write .dockerignore with `{}`", lines.join("`, `")))
            .fix(fix),
    );
}

/// A path as the Dockerfile's own is told: relative to where the user is.
fn named_as(dockerfile: &DockerfileView, path: &Utf8Path) -> String {
    let start = dockerfile.path.as_str().strip_suffix(&*dockerfile.source.name);
    let inside = start.and_then(|start| path.strip_prefix(start).ok());
    inside.unwrap_or(path).to_string()
}
