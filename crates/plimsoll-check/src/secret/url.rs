//! URLs with a password in them.

use plimsoll_diagnostics::Span;

use super::{IN_URL, Secret, is_clean};

/// Finds `scheme://user:password@host`.
pub(super) fn find(text: &str) -> Vec<Secret> {
    let mut found = Vec::new();
    for (place, _) in text.match_indices("://") {
        let start = place + 3;
        // Passwords with a slash in them have to be written as `%2F`.
        let ends = |letter: char| {
            letter.is_whitespace() || matches!(letter, '/' | '"' | '\'' | '`' | '<' | '>' | ',' | ';' | '\\')
        };
        let rest = &text[start..];
        let authority = &rest[..rest.find(ends).unwrap_or(rest.len())];
        let Some((user, _)) = authority.rsplit_once('@') else {
            continue;
        };
        let Some((_, password)) = user.split_once(':') else {
            continue;
        };
        if is_clean(password) || password.contains("${") || password.starts_with(['$', '{', '%']) {
            continue;
        }
        let at = start + user.len() - password.len();
        found.push(Secret {
            kind: IN_URL,
            span: Span::new(at, at + password.len()),
        });
    }
    found
}
