//! Edits of YAML text by spans: what is not edited keeps its form and its comments.

use std::sync::Arc;

use plimsoll_compose_file::{Entry, Node, Place};
use plimsoll_diagnostics::{Fix, Source, Span};

/// Adds lines after the last line of a block mapping, indented as its keys are. None for a mapping in braces.
pub(super) fn append(fix: Fix, map: &Node, lines: &[&str]) -> Option<Fix> {
    let source = &map.place.source;
    let first = own_entries(map).next()?;
    let indent = indent(source, first.place.span.start)?;
    Some(insert_after(fix, source, map.place.span, &indent, lines))
}

/// Adds an item to a block list (`- a`), or to one in brackets.
pub(super) fn append_item(fix: Fix, list: &Node, item: &str) -> Option<Fix> {
    let (source, span) = (&list.place.source, list.place.span);
    let text = source.slice(span);
    if text.starts_with('[') && text.ends_with(']') {
        let comma = if list.items().is_empty() { "" } else { ", " };
        return Some(fix.insert(source, span.end - 1, format!("{comma}{item}")));
    }
    // A list at the column of its key has its place after the dash.
    let line = source.line_at(span.start);
    let blanks = source.slice(Span::new(line.start, span.end));
    let dash = blanks.len() - blanks.trim_start().len();
    let indent = blanks.trim_start().starts_with("- ").then(|| " ".repeat(dash))?;
    Some(insert_after(fix, source, span, &indent, &[&format!("- {item}")]))
}

/// Adds lines at the end of the file, at the first column.
pub(super) fn append_to_file(fix: Fix, source: &Source, lines: &[&str]) -> Fix {
    let end = source.text.trim_end().len();
    insert_after(fix, source, Span::new(end.saturating_sub(1), end), "", lines)
}

fn insert_after(mut fix: Fix, source: &Source, span: Span, indent: &str, lines: &[&str]) -> Fix {
    let ending = if source.text.contains("\r\n") {
        "\r\n"
    } else {
        "\n"
    };
    // The last line may go on with a comment; a block scalar ends after its line break.
    let last = source.slice(Span::new(0, span.end)).trim_end().len();
    let end = source.line_at(last.saturating_sub(1)).end;
    let text: String = lines
        .iter()
        .map(|line| match line.is_empty() {
            true => ending.to_owned(),
            false => format!("{ending}{indent}{line}"),
        })
        .collect();
    // The end of the last service is the end of the file: one edit for both.
    let mut edits = fix.edits.iter_mut();
    match edits.find(|edit| edit.span == Span::new(end, end) && edit.source.name == source.name) {
        Some(edit) => edit.text += &text,
        None => return fix.insert(source, end, text),
    }
    fix
}

/// Takes a key with its value away, whole lines. None where something else is on them.
pub(super) fn remove(fix: Fix, entry: &Entry) -> Option<Fix> {
    let (key, value) = (&entry.place, &entry.value.place);
    let source = &key.source;
    if !same_text(key, value) {
        return None;
    }
    indent(source, key.span.start)?;
    let start = source.line_at(key.span.start).start;
    let last = source
        .slice(Span::new(0, value.span.end.max(key.span.end)))
        .trim_end()
        .len();
    let end = source.line_at(last.saturating_sub(1)).end;
    let rest = &source.text[end..];
    let line_break = if rest.starts_with("\r\n") {
        2
    } else {
        rest.len().min(1)
    };
    Some(fix.delete(source, Span::new(start, end + line_break)))
}

/// The keys that stand in the mapping's own text: merges bring others.
fn own_entries(map: &Node) -> impl Iterator<Item = &Entry> {
    let place = &map.place;
    map.entries().iter().filter(move |entry| {
        let span = entry.place.span;
        same_text(&entry.place, place) && place.span.start <= span.start && span.end <= place.span.end
    })
}

fn same_text(one: &Place, other: &Place) -> bool {
    Arc::ptr_eq(&one.source.text, &other.source.text)
}

/// The blanks before a place; none where its line begins with something else than blanks and dashes.
fn indent(source: &Source, offset: usize) -> Option<String> {
    let before = source.slice(Span::new(source.line_at(offset).start, offset));
    before
        .chars()
        .all(|letter| letter == ' ' || letter == '-')
        .then(|| " ".repeat(before.len()))
}
