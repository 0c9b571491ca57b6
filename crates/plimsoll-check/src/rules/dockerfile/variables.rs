//! Uses of variables in the words of instructions.

use std::cell::RefCell;

use plimsoll_diagnostics::Span;
use plimsoll_dockerfile::{Word, expand};

use crate::view::{DockerfileView, Variable};

/// Arguments that every build has.
pub(super) const PLATFORM_ARGS: [&str; 8] = [
    "BUILDPLATFORM",
    "BUILDOS",
    "BUILDARCH",
    "BUILDVARIANT",
    "TARGETPLATFORM",
    "TARGETOS",
    "TARGETARCH",
    "TARGETVARIANT",
];

/// A variable in a word.
#[derive(Clone, Debug)]
pub(super) struct Used {
    pub(super) name: String,
    /// From the `$` on.
    pub(super) span: Span,
    /// The name alone.
    pub(super) name_span: Span,
}

/// The variables of a word that have no value there, each once; not those whose form provides for that (`${A:-b}`).
pub(super) fn undefined(view: &DockerfileView, at: usize, word: &Word) -> Vec<Used> {
    if !word.value.contains('$') {
        return Vec::new();
    }
    let value = |name: &str| match view.variable(at, name) {
        Variable::Known(value) => Some(value),
        Variable::Unknown => Some(String::new()),
        Variable::Undefined => None,
    };
    let expanded = expand(&word.value, view.dockerfile.directives.escape, &value);
    let names = expanded.map(|expanded| expanded.undefined).unwrap_or_default();
    names.into_iter().map(|name| place(view, word, name)).collect()
}

/// Every variable of a word.
pub(super) fn used(view: &DockerfileView, word: &Word) -> Vec<Used> {
    if !word.value.contains('$') {
        return Vec::new();
    }
    let names: RefCell<Vec<String>> = RefCell::default();
    let note = |name: &str| {
        let mut names = names.borrow_mut();
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
        Some(String::new())
    };
    // A word that cannot be expanded has told its names up to there.
    let _ = expand(&word.value, view.dockerfile.directives.escape, &note);
    names
        .into_inner()
        .into_iter()
        .map(|name| place(view, word, name))
        .collect()
}

fn place(view: &DockerfileView, word: &Word, name: String) -> Used {
    let text = view.source.slice(word.span);
    let found = text.match_indices('$').find_map(|(at, _)| {
        let braces = usize::from(text[at + 1..].starts_with('{'));
        let start = at + 1 + braces;
        let rest = text[start..].strip_prefix(name.as_str())?;
        let ends = !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let close = match braces {
            1 => rest.find('}').map_or(0, |close| close + 1),
            _ => 0,
        };
        ends.then_some((at, start, start + name.len(), start + name.len() + close))
    });
    match found {
        Some((at, start, end, close)) => Used {
            span: Span::new(word.span.start + at, word.span.start + close),
            name_span: Span::new(word.span.start + start, word.span.start + end),
            name,
        },
        None => Used {
            name,
            span: word.span,
            name_span: word.span,
        },
    }
}
