//! Comments of YAML files, and what they stand before.

use std::ops::Range;

/// A comment.
pub(super) struct Comment<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
    /// At the end of a line, that line; on a line of its own, the key or item below with what belongs to it.
    pub(super) place: Option<Range<usize>>,
}

struct Line<'a> {
    start: usize,
    text: &'a str,
    indent: usize,
}

/// Finds the comments that could mean something to us.
pub(super) fn comments(text: &str) -> Vec<Comment<'_>> {
    let lines: Vec<Line<'_>> = super::lines(text)
        .map(|(start, text)| Line {
            start,
            text,
            indent: text.len() - text.trim_start_matches(' ').len(),
        })
        .collect();
    let mut comments = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some(hash) = hash(line.text) else { continue };
        let own_line = line.text[..hash].trim().is_empty();
        let place = match own_line {
            true => block(&lines[index + 1..]),
            false => Some(line.start..line.start + line.text.len()),
        };
        comments.push(Comment {
            text: &line.text[hash..],
            at: line.start + hash,
            place,
        });
    }
    comments
}

/// Where the comment of a line begins: a `#` at its beginning or behind a blank, outside quotes. Text blocks are not
/// told apart: what they hold is hardly ever meant for us.
fn hash(line: &str) -> Option<usize> {
    let mut quote = None;
    let mut before = ' ';
    for (at, letter) in line.char_indices() {
        match (letter, quote) {
            ('#', None) if before.is_whitespace() => return Some(at),
            ('"' | '\'', None) if before.is_whitespace() || "[{,:(".contains(before) => quote = Some(letter),
            (letter, Some(open)) if letter == open => quote = None,
            _ => {}
        }
        before = letter;
    }
    None
}

/// The first line that holds anything, and those that are indented deeper.
fn block(below: &[Line<'_>]) -> Option<Range<usize>> {
    let holds = |line: &&Line<'_>| {
        let text = line.text.trim();
        !text.is_empty() && !text.starts_with('#')
    };
    let mut lines = below.iter().filter(holds);
    let first = lines.next()?;
    let last = lines.take_while(|line| line.indent > first.indent).last();
    let last = last.unwrap_or(first);
    Some(first.start..last.start + last.text.len())
}
