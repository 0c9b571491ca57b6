//! What the rules about versions of packages have in common.

use crate::shell::ShellWord;
use crate::view::DockerfileView;
use crate::{Checker, Finding};

use super::packages::{Call, is_dynamic, listed};

/// Reports the packages of a call that have no version, in one finding.
pub(super) fn report(
    view: &DockerfileView,
    checker: &mut Checker<'_>,
    call: &Call<'_>,
    is_pinned: &dyn Fn(&ShellWord) -> bool,
    form: &str,
) {
    let open = call.operands.iter().copied();
    let open: Vec<&ShellWord> = open
        .filter(|word| !is_dynamic(word) && !is_pinned(word))
        .collect();
    let Some(first) = open.first() else { return };
    let verb = if open.len() == 1 { "is" } else { "are" };
    let message = format!("{} {verb} installed without a version", listed(&open));
    checker.report(
        Finding::new(&view.source, first.span, message)
            .help(format!("write {form}, or name the base by its digest")),
    );
}

/// Whether the name of an RPM package goes on with a version: `curl-7.76.1`, `@module:stream`, a file or URL.
pub(super) fn is_rpm_version(word: &ShellWord) -> bool {
    let text = word.text.as_str();
    let version = text
        .split('-')
        .skip(1)
        .any(|part| part.starts_with(|c: char| c.is_ascii_digit()));
    version || text.contains(['=', '/', '<', '>']) || text.ends_with(".rpm") || text.starts_with('@')
}
