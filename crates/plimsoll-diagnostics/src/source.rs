//! Texts and places in them.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use serde::Serialize;

/// A named text that spans point into; cheap to clone.
#[derive(Clone, Debug)]
pub struct Source {
    /// Path as the user knows it, or `<stdin>`.
    pub name: Arc<str>,
    /// The whole text.
    pub text: Arc<str>,
    /// Where each line begins; made when somebody first asks for a position.
    lines: Arc<OnceLock<Vec<usize>>>,
}

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.text == other.text
    }
}

impl Eq for Source {}

impl Source {
    /// Pairs a text with the name the user knows it by.
    pub fn new(name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
            lines: Arc::default(),
        }
    }

    /// Returns line and column of a byte offset; an offset inside a character or past the end is
    /// moved back to the nearest place that exists.
    pub fn position(&self, offset: usize) -> Position {
        let offset = self.floor(offset);
        let starts = self.lines.get_or_init(|| {
            let newlines = self.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
            std::iter::once(0).chain(newlines.map(|(at, _)| at + 1)).collect()
        });
        let line = starts.partition_point(|start| *start <= offset);
        Position {
            line,
            column: self.text[starts[line - 1]..offset].chars().count() + 1,
        }
    }

    /// Returns the bytes of the line that holds `offset`, without its line ending.
    pub fn line_at(&self, offset: usize) -> Span {
        let offset = self.floor(offset);
        let start = self.text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
        let end = self.text[offset..]
            .find('\n')
            .map_or(self.text.len(), |newline| offset + newline);
        let ending = usize::from(end > start && self.text.as_bytes()[end - 1] == b'\r');
        Span::new(start, end - ending)
    }

    /// Returns the text under a span; whatever lies outside the text is left out.
    pub fn slice(&self, span: Span) -> &str {
        let span = self.clamp(span);
        &self.text[span.range()]
    }

    /// Returns the nearest span that lies within the text and on character borders.
    pub fn clamp(&self, span: Span) -> Span {
        let start = self.floor(span.start);
        Span::new(start, self.floor(span.end).max(start))
    }

    fn floor(&self, offset: usize) -> usize {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }
}

/// A byte range in a [`Source`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// Makes a span from its two ends.
    pub const fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// Returns the range.
    pub fn range(self) -> Range<usize> {
        self.start..self.end
    }

    /// Returns the number of bytes covered.
    pub fn len(self) -> usize {
        self.end.saturating_sub(self.start)
    }

    /// Tells whether the span covers nothing.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Returns the smallest span that covers both.
    pub fn join(self, other: Span) -> Span {
        Span::new(self.start.min(other.start), self.end.max(other.end))
    }
}

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Self {
        Self::new(range.start, range.end)
    }
}

/// A place as editors count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let source = Source::new("f", "ab\r\n\tñx\n");
        let at = |offset| {
            let position = source.position(offset);
            (position.line, position.column)
        };
        assert_eq!(at(0), (1, 1));
        assert_eq!(at(2), (1, 3));
        assert_eq!(at(4), (2, 1));
        assert_eq!(at(5), (2, 2));
        assert_eq!(at(6), (2, 2), "inside ñ: where it starts");
        assert_eq!(at(7), (2, 3));
        assert_eq!(at(9), (3, 1), "after the last newline");
        assert_eq!(at(1000), (3, 1));
    }

    #[test]
    fn lines_come_without_their_ending() {
        let source = Source::new("f", "ab\r\ncd\n\nlast");
        let line = |offset| source.slice(source.line_at(offset));
        assert_eq!(line(0), "ab");
        assert_eq!(line(3), "ab");
        assert_eq!(line(4), "cd");
        assert_eq!(line(7), "");
        assert_eq!(line(12), "last");
        assert_eq!(line(99), "last");
    }

    #[test]
    fn slices_never_leave_the_text() {
        let source = Source::new("f", "añb");
        assert_eq!(source.slice(Span::new(1, 3)), "ñ");
        assert_eq!(source.slice(Span::new(2, 99)), "ñb");
        assert_eq!(source.slice(Span::new(3, 1)), "");
    }
}
