//! Labels: where they stand, and what form their values have.

use plimsoll_dockerfile::{InstructionKind, KeyValue};

use crate::config::LabelForm;
use crate::view::{DockerfileView, Step};
use crate::{Checker, Finding};

/// Every label of the file.
pub(super) fn all(view: &DockerfileView) -> impl Iterator<Item = (Step<'_>, &KeyValue)> {
    view.steps().flat_map(|step| {
        let pairs = match step.effective() {
            InstructionKind::Label(pairs) => pairs.as_slice(),
            _ => &[],
        };
        pairs.iter().map(move |pair| (step, pair))
    })
}

/// Reports labels that should be of a form and are not.
pub(super) fn report(view: &DockerfileView, checker: &mut Checker<'_>, form: LabelForm, what: &str) {
    for (step, pair) in all(view) {
        let key = pair.key.value.trim_matches(['"', '\'']);
        if form_of(checker, key) != Some(form) {
            continue;
        }
        // What is empty is another rule's.
        let Some(value) = view
            .expand(step.at, &pair.value)
            .filter(|value| !value.trim().is_empty())
        else {
            continue;
        };
        if !fits(form, value.trim()) {
            checker.report(Finding::new(
                &view.source,
                pair.value.span,
                format!("label `{key}` {what}"),
            ));
        }
    }
}

/// What the settings say, or the specification of OCI's annotations.
fn form_of(checker: &Checker<'_>, key: &str) -> Option<LabelForm> {
    let own = checker.config().label_schema.get(key).copied();
    own.or_else(|| match key.strip_prefix("org.opencontainers.image.")? {
        "url" | "source" | "documentation" => Some(LabelForm::Url),
        "created" => Some(LabelForm::Rfc3339),
        "licenses" => Some(LabelForm::Spdx),
        _ => None,
    })
}

fn fits(form: LabelForm, value: &str) -> bool {
    match form {
        LabelForm::Text => true,
        LabelForm::Url => is_url(value),
        LabelForm::Rfc3339 => is_rfc3339(value),
        LabelForm::Spdx => is_spdx(value),
        LabelForm::GitHash => {
            (7..=64).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_hexdigit())
        }
        LabelForm::SemVer => is_semver(value),
        LabelForm::Email => {
            let parts = value.split_once('@');
            parts.is_some_and(|(name, host)| {
                !name.is_empty() && host.contains('.') && !value.contains(char::is_whitespace)
            })
        }
    }
}

fn is_url(value: &str) -> bool {
    let parts = value.split_once("://");
    parts.is_some_and(|(scheme, rest)| {
        !scheme.is_empty()
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
            && !rest.is_empty()
            && !rest.contains(char::is_whitespace)
    })
}

/// `2026-05-04T10:00:00Z`, with parts of a second and an offset.
fn is_rfc3339(value: &str) -> bool {
    let bytes = value.as_bytes();
    let digits = |range: std::ops::Range<usize>| value.get(range).and_then(|part| part.parse::<u32>().ok());
    let is = |at: usize, wanted: &[u8]| bytes.get(at).is_some_and(|byte| wanted.contains(byte));
    let separators = is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":");
    let numbers = digits(0..4).is_some()
        && digits(5..7).is_some_and(|month| (1..=12).contains(&month))
        && digits(8..10).is_some_and(|day| (1..=31).contains(&day))
        && digits(11..13).is_some_and(|hour| hour < 24)
        && digits(14..16).is_some_and(|minute| minute < 60)
        && digits(17..19).is_some_and(|second| second <= 60);
    let rest = value.get(19..).unwrap_or_default();
    let rest = match rest.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => rest,
    };
    let offset = rest.len() == 6 && rest.starts_with(['+', '-']) && rest.as_bytes()[3] == b':';
    separators && numbers && (matches!(rest, "Z" | "z") || offset)
}

/// Names of licences joined by AND, OR and WITH. Which names there are changes with every release of the list, so only
/// their form is looked at.
fn is_spdx(value: &str) -> bool {
    let mut expects_name = true;
    let open = value.matches('(').count() == value.matches(')').count();
    let words = value.replace(['(', ')'], " ");
    for word in words.split_whitespace() {
        let joint = matches!(word, "AND" | "OR" | "WITH");
        let name = word
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-.+:".contains(&byte));
        if joint == expects_name || !name {
            return false;
        }
        expects_name = joint;
    }
    open && !expects_name
}

fn is_semver(value: &str) -> bool {
    let core = value.split(['-', '+']).next().unwrap_or_default();
    let number = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_digit())
            && (part == "0" || !part.starts_with('0'))
    };
    let rest = &value[core.len()..];
    let tail = rest.len() != 1
        && rest
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-+.".contains(&byte));
    core.split('.').count() == 3 && core.split('.').all(number) && tail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_values() {
        let all = |form, good: &[&str], bad: &[&str]| {
            good.iter()
                .for_each(|value| assert!(fits(form, value), "{value}"));
            bad.iter()
                .for_each(|value| assert!(!fits(form, value), "{value}"));
        };
        all(
            LabelForm::Url,
            &["https://a.b/c", "git+ssh://x/y"],
            &["a.b", "://x", "https://a b"],
        );
        all(
            LabelForm::Rfc3339,
            &["2026-05-04T10:00:00Z", "2026-05-04T10:00:00.123+02:00"],
            &[
                "2026-05-04",
                "2026-13-04T10:00:00Z",
                "yesterday",
                "2026-05-04T10:00:00",
            ],
        );
        all(
            LabelForm::Spdx,
            &[
                "MIT",
                "(MIT OR Apache-2.0) AND BSD-3-Clause",
                "GPL-2.0-only WITH Classpath-exception-2.0",
            ],
            &["MIT OR", "see file", ""],
        );
        all(
            LabelForm::SemVer,
            &["1.2.3", "0.1.0-rc.1+build"],
            &["1.2", "v1.2.3", "01.2.3", "1.2.3-"],
        );
        all(LabelForm::GitHash, &["8f2c3d1a"], &["main", "8f2"]);
        all(LabelForm::Email, &["a@b.c"], &["a", "@b.c", "a@b"]);
    }
}
