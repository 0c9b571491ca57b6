//! ADD is used for plain files.
//!
//! ## Why
//! ADD unpacks archives and fetches URLs. For a file or a folder it does the same as COPY, and leaves the reader to
//! find that out.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! ADD app.py /app/
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! COPY app.py /app/
//! ```

use plimsoll_diagnostics::{Fix, Severity};
use plimsoll_dockerfile::{CopySource, InstructionKind};

use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

use super::copies;

pub(super) const RULE: Rule = Rule::new("add-not-copy", Severity::Error)
    .aliases(&["DL3020", "CIS-DI-0009", "CIS-4.9", "DS-0005", "CKV_DOCKER_4"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for step in view.steps() {
        let InstructionKind::Add(add) = step.effective() else {
            continue;
        };
        let special = add.checksum.is_some() || add.keep_git_dir || add.unpack.is_some();
        if special
            || !add
                .sources
                .iter()
                .all(|source| copies::is_plain(view, step.at, source))
        {
            continue;
        }
        let keyword = match step.kind() {
            InstructionKind::Onbuild(inner) => inner.keyword.span,
            _ => step.instruction.keyword.span,
        };
        let pattern = add
            .sources
            .iter()
            .any(|source| matches!(source, CopySource::Path(path) if path.value.contains(['*', '?', '['])));
        let title = "write COPY";
        let fix = if pattern {
            Fix::ask(title)
        } else {
            Fix::safe(title)
        };
        let copy = match view.source.slice(keyword).starts_with('a') {
            true => "copy",
            false => "COPY",
        };
        checker.report(
            Finding::new(
                &view.source,
                keyword,
                "ADD is used for files that need no unpacking",
            )
            .help("write COPY; ADD is for archives and URLs")
            .fix(fix.replace(&view.source, keyword, copy)),
        );
    }
}
