//! The single line that a part of an instruction is, with the way back to the source.

use plimsoll_diagnostics::{Source, Span};

use crate::line::{Line, Lines};

/// Text with its continuation lines joined and the comments between them left out, every byte of
/// which knows where it was written.
///
/// [`Word::value`](crate::Word) of a shell command is the same text; this one is for those who
/// look into it and have to point at what they find.
#[derive(Debug)]
pub struct Unfolded {
    line: Line,
}

impl Unfolded {
    /// Joins the lines of a span, which lies within one instruction.
    pub fn new(source: &Source, span: Span, escape: char) -> Self {
        let span = source.clamp(span);
        let mut lines = Lines::within(&source.text[..span.end], span.start);
        let line = match lines.next() {
            Some(first) => lines.join(first, escape).line,
            None => Line::default(),
        };
        Self { line }
    }

    /// The joined text.
    pub fn text(&self) -> &str {
        self.line.text()
    }

    /// The pieces it is put together from: where each begins in the joined text, and in the source.
    pub fn pieces(&self) -> &[(usize, usize)] {
        self.line.pieces()
    }

    /// Where a range of bytes of the joined text was written; continuation characters within are
    /// covered.
    pub fn span(&self, start: usize, end: usize) -> Span {
        self.line.span(start, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Command, Dockerfile, InstructionKind};

    #[test]
    fn every_word_knows_its_place() {
        let text = "FROM x\nRUN --network=none one \\\n  two \\\n# note\n  three\nCMD y\n";
        let source = Source::new("Dockerfile", text);
        let parsed = Dockerfile::parse(&source);
        let InstructionKind::Run(run) = &parsed.dockerfile.instructions[1].kind else {
            panic!()
        };
        let Command::Shell(word) = &run.command else {
            panic!()
        };
        let unfolded = Unfolded::new(&source, word.span, '\\');
        assert_eq!(unfolded.text(), word.value);
        for needle in ["one", "two", "three"] {
            let at = unfolded.text().find(needle).unwrap();
            assert_eq!(source.slice(unfolded.span(at, at + needle.len())), needle);
        }
        assert_eq!(unfolded.span(0, 0), Span::new(word.span.start, word.span.start));
        let empty = Unfolded::new(&source, Span::default(), '\\');
        assert_eq!((empty.text(), empty.span(0, 0)), ("", Span::default()));
    }
}
