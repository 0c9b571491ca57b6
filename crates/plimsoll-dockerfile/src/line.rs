//! Physical lines, and the single line that an instruction is once its continuations are joined.
//!
//! Parsing works on the joined line; a [`Slice`] of it knows which bytes of the source it came
//! from, so that every word and every message points into the user's file.

use plimsoll_diagnostics::Span;

use crate::tree::{Spanned, Word};

/// What separates words of an instruction (BuildKit's `[\t\v\f\r ]`).
pub(crate) fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\u{b}' | '\u{c}')
}

/// Walks over the physical lines of a text.
pub(crate) struct Lines<'a> {
    text: &'a str,
    offset: usize,
}

/// One line of the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Physical<'a> {
    /// Where it begins.
    pub(crate) start: usize,
    /// Without its ending.
    pub(crate) text: &'a str,
    /// With its ending.
    pub(crate) raw: &'a str,
}

impl Physical<'_> {
    /// Where the text ends, before the line ending.
    pub(crate) fn end(&self) -> usize {
        self.start + self.text.len()
    }

    pub(crate) fn is_comment(&self) -> bool {
        self.text.trim_start().starts_with('#')
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.text.trim_start().is_empty()
    }
}

impl<'a> Lines<'a> {
    /// Begins at the top of the file, behind a byte order mark.
    pub(crate) fn new(text: &'a str) -> Self {
        let offset = if text.starts_with('\u{feff}') {
            '\u{feff}'.len_utf8()
        } else {
            0
        };
        Self { text, offset }
    }

    /// Begins in the midst of a text.
    pub(crate) fn within(text: &'a str, offset: usize) -> Self {
        Self { text, offset }
    }

    /// Where the next line begins.
    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    /// Reads one instruction: the line given and those that continue it.
    pub(crate) fn join(&mut self, first: Physical<'a>, escape: char) -> Joined {
        let mut joined = Joined {
            line: Line::default(),
            end: first.end(),
            empty_lines: Vec::new(),
        };
        let mut continues = joined.push(first, escape);
        while continues {
            let Some(next) = self.next() else { break };
            if next.is_comment() {
                continue;
            }
            if next.is_empty() {
                joined.empty_lines.push(Span::new(next.start, next.end()));
                continue;
            }
            continues = joined.push(next, escape);
        }
        joined
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Physical<'a>;

    fn next(&mut self) -> Option<Physical<'a>> {
        let start = self.offset;
        let rest = self.text.get(start..).filter(|rest| !rest.is_empty())?;
        let length = rest.find('\n').map_or(rest.len(), |newline| newline + 1);
        self.offset += length;
        let raw = &rest[..length];
        Some(Physical {
            start,
            text: raw.trim_end_matches(['\r', '\n']),
            raw,
        })
    }
}

/// An instruction on one line.
pub(crate) struct Joined {
    pub(crate) line: Line,
    /// Where its last line that counts ends in the source.
    pub(crate) end: usize,
    /// Empty lines in the midst of it.
    pub(crate) empty_lines: Vec<Span>,
}

impl Joined {
    /// Adds a line; tells whether another one follows.
    fn push(&mut self, physical: Physical<'_>, escape: char) -> bool {
        let content = continued(physical.text, escape);
        self.line.push(content.unwrap_or(physical.text), physical.start);
        self.end = physical.end();
        content.is_some()
    }
}

/// Returns the text before the escape character that ends a line which continues.
///
/// Blanks may follow the escape character. Two in a row do not continue, as in BuildKit.
fn continued(text: &str, escape: char) -> Option<&str> {
    let content = text.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!content.ends_with(escape)).then_some(content)
}

/// A line put together from pieces of the source.
#[derive(Debug, Default)]
pub(crate) struct Line {
    text: String,
    /// For each piece where it begins, here and in the source.
    pieces: Vec<(usize, usize)>,
}

impl Line {
    fn push(&mut self, text: &str, from: usize) {
        if !text.is_empty() || self.pieces.is_empty() {
            self.pieces.push((self.text.len(), from));
            self.text.push_str(text);
        }
    }

    pub(crate) fn whole(&self) -> Slice<'_> {
        Slice {
            line: self,
            start: 0,
            end: self.text.len(),
        }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn pieces(&self) -> &[(usize, usize)] {
        &self.pieces
    }

    /// Where a part of it stands in the source.
    pub(crate) fn span(&self, start: usize, end: usize) -> Span {
        if self.pieces.is_empty() {
            return Span::default();
        }
        let origin = self.origin(start);
        match start < end {
            true => Span::new(origin, self.origin(end - 1) + 1),
            false => Span::new(origin, origin),
        }
    }

    fn origin(&self, offset: usize) -> usize {
        let after = self.pieces.partition_point(|(at, _)| *at <= offset);
        let (at, from) = self.pieces[after.saturating_sub(1)];
        from + (offset - at)
    }
}

/// A part of a joined line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slice<'a> {
    line: &'a Line,
    start: usize,
    end: usize,
}

impl<'a> Slice<'a> {
    pub(crate) fn as_str(self) -> &'a str {
        &self.line.text[self.start..self.end]
    }

    pub(crate) fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Where it stands in the source; continuation characters within are covered.
    pub(crate) fn span(self) -> Span {
        self.line.span(self.start, self.end)
    }

    pub(crate) fn spanned<T>(self, value: T) -> Spanned<T> {
        Spanned {
            value,
            span: self.span(),
        }
    }

    /// The text as it stands.
    pub(crate) fn word(self) -> Word {
        self.spanned(self.as_str().to_owned())
    }

    /// The part from one byte to another, counted from the beginning of this one.
    pub(crate) fn part(self, from: usize, to: usize) -> Self {
        Self {
            line: self.line,
            start: self.start + from,
            end: self.start + to,
        }
    }

    /// The part from a byte to the end.
    pub(crate) fn after(self, from: usize) -> Self {
        self.part(from, self.end - self.start)
    }

    pub(crate) fn trim_start(self) -> Self {
        let text = self.as_str();
        self.after(text.len() - text.trim_start().len())
    }

    pub(crate) fn trim(self) -> Self {
        let trimmed = self.trim_start();
        trimmed.part(0, trimmed.as_str().trim_end().len())
    }

    /// From the beginning of this one to the beginning of another on the same line.
    pub(crate) fn before(self, other: Slice<'a>) -> Self {
        Self {
            end: other.start,
            ..self
        }
    }

    /// Tells whether this one begins within the other.
    pub(crate) fn begins_in(self, other: Slice<'a>) -> bool {
        other.start <= self.start && self.start < other.end
    }

    /// Cuts at the first blanks.
    pub(crate) fn split_first(self) -> (Self, Self) {
        let text = self.as_str();
        let end = text.find(is_blank).unwrap_or(text.len());
        (self.part(0, end), self.after(end).trim())
    }

    /// Words between blanks; quotes mean nothing.
    pub(crate) fn words(self) -> Vec<Self> {
        let mut words = Vec::new();
        let mut rest = self.trim();
        while !rest.is_empty() {
            let (word, after) = rest.split_first();
            words.push(word);
            rest = after;
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(text: &str) -> Joined {
        let mut lines = Lines::new(text);
        let first = lines.next().unwrap();
        lines.join(first, '\\')
    }

    #[test]
    fn words_know_their_place_across_lines() {
        let text = "RUN  one \\\n  two\\ \t\r\n# three\n\n   fo\\\nur\nCMD x";
        let joined = join(text);
        assert_eq!(joined.line.text, "RUN  one   two   four");
        assert_eq!(joined.empty_lines.len(), 1);
        assert_eq!(&text[..joined.end].len(), &text.find("\nCMD").unwrap());
        let words: Vec<&str> = joined
            .line
            .whole()
            .words()
            .into_iter()
            .map(|word| &text[word.span().range()])
            .collect();
        assert_eq!(words, ["RUN", "one", "two", "fo\\\nur"]);
    }

    #[test]
    fn two_escapes_do_not_continue() {
        assert_eq!(join("RUN a \\\\\nCMD b").line.text, "RUN a \\\\");
        assert_eq!(join("\\\nRUN b").line.text, "RUN b");
    }

    #[test]
    fn continuation_at_the_end_of_the_file() {
        let joined = join("RUN a \\");
        assert_eq!(joined.line.text, "RUN a ");
        assert_eq!(joined.end, 7);
    }

    #[test]
    fn byte_order_mark_and_line_endings_are_no_text() {
        let lines: Vec<_> = Lines::new("\u{feff}A\r\n\nB")
            .map(|line| (line.start, line.text))
            .collect();
        assert_eq!(lines, [(3, "A"), (6, ""), (7, "B")]);
    }
}
