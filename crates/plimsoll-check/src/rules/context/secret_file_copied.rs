//! A file with a secret becomes part of the image.
//!
//! ## Why
//! Whoever has the image has the file, also when a later instruction deletes it. Files are judged by what is in them: a
//! `.env` without a password or a certificate without its key is fine. A build that needs a secret mounts it:
//! `RUN --mount=type=secret`.
//!
//! ## Bad
//! ```dockerfile
//! FROM node:22-slim
//! COPY .npmrc package.json ./
//! RUN npm install
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM node:22-slim
//! COPY package.json ./
//! RUN --mount=type=secret,id=npmrc,target=/root/.npmrc npm install
//! ```

use std::fs;

use plimsoll_diagnostics::{Fix, Severity, Span};

use super::sent::{copies, dockerfiles, is_taken};
use crate::rules::image::look;
use crate::secret::{self, InFile};
use crate::view::{ContextKind, ContextView, DockerfileView};
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("secret-file-copied", Severity::Error)
    .aliases(&["CIS-DI-0010", "DS-0031"])
    .checks(&[
        Check::Dockerfile(dockerfile),
        Check::Context(context),
        Check::Image(look::secret_file_copied),
    ]);

/// A file that is named, and whose name leaves no doubt.
fn dockerfile(view: &DockerfileView, checker: &mut Checker<'_>) {
    for (_, paths) in copies(view) {
        for (path, span) in paths {
            let mut contexts = checker.workspace().contexts_of(view);
            let known = contexts.any(|context| context.entries.iter().any(|entry| entry.path == path));
            // With the file at hand, what is in it counts.
            if known {
                continue;
            }
            let Some(found) = secret::of_file(&path, None) else {
                continue;
            };
            let message = format!("`{path}` is copied: {}", found.kind);
            checker.report(
                Finding::new(&view.source, span, message)
                    .help("mount it where it is needed: `RUN --mount=type=secret`"),
            );
        }
    }
}

fn context(view: &ContextView, checker: &mut Checker<'_>) {
    for (path, found) in secrets(view) {
        for dockerfile in dockerfiles(view, checker.workspace()) {
            let Some(span) = is_taken(path, dockerfile) else {
                continue;
            };
            let line = found.line.map(|line| format!(":{line}")).unwrap_or_default();
            let message = format!("`{path}{line}` is copied, and has {} in it", found.kind);
            let mut finding = Finding::new(&dockerfile.source, span, message)
                .help("name it in .dockerignore, and mount it where it is needed: `RUN --mount=type=secret`");
            if let Some(fix) = fix(view, path) {
                finding = finding.fix(fix);
            }
            checker.report(finding);
        }
    }
}

/// Files of a context that are sent and have secrets in them.
fn secrets(view: &ContextView) -> Vec<(&str, InFile)> {
    let candidates = view.entries.iter().filter(|entry| {
        entry.sent
            && entry.kind == ContextKind::File
            && entry.size <= secret::FILE_LIMIT
            && secret::is_secret_name(&entry.path)
    });
    let judge = |path: &str| {
        let bytes = fs::read(view.folder.join(path)).ok();
        secret::of_file(path, bytes.as_deref())
    };
    candidates
        .filter_map(|entry| Some((entry.path.as_str(), judge(&entry.path)?)))
        .collect()
}

fn fix(view: &ContextView, path: &str) -> Option<Fix> {
    let source = &view.ignore.as_ref()?.source;
    let end = source.text.len();
    let gap = if source.text.is_empty() || source.text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    Some(Fix::ask("name it in .dockerignore").replace(source, Span::new(end, end), format!("{gap}{path}\n")))
}
