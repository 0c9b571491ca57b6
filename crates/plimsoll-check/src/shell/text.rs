//! Shell text, every byte of which knows where in the Dockerfile it was written.

use plimsoll_diagnostics::{Source, Span};
use plimsoll_dockerfile::{Heredoc, Unfolded};

/// Shell text with the way back.
#[derive(Clone, Debug, Default)]
pub(super) struct Text {
    text: String,
    /// For each piece where it begins, here and in the source.
    pieces: Vec<(usize, usize)>,
    /// Where all of it stands, when its bytes cannot be told apart (an escape in a JSON string).
    whole: Option<Span>,
}

impl Text {
    /// A command line, its continuation lines joined.
    pub(super) fn line(line: &Unfolded) -> Self {
        Self {
            text: line.text().to_owned(),
            pieces: line.pieces().to_vec(),
            whole: None,
        }
    }

    /// The body of a here-document.
    pub(super) fn body(source: &Source, heredoc: &Heredoc) -> Self {
        let mut text = Self::default();
        text.add_body(source, heredoc);
        text
    }

    /// Text that stands in the source as it is, or, when it does not, somewhere in a span.
    pub(super) fn literal(source: &Source, text: &str, span: Span) -> Self {
        let written = source.slice(span);
        let verbatim = written
            .len()
            .checked_sub(text.len())
            .filter(|quotes| *quotes <= 2);
        let start = verbatim.map(|quotes| span.start + quotes / 2);
        match start.filter(|start| source.slice(Span::new(*start, *start + text.len())) == text) {
            Some(start) => Self {
                text: text.to_owned(),
                pieces: vec![(0, start)],
                whole: None,
            },
            None => Self::somewhere(text, span),
        }
    }

    /// Text that was written somewhere in a span.
    pub(super) fn somewhere(text: &str, span: Span) -> Self {
        Self {
            text: text.to_owned(),
            pieces: Vec::new(),
            whole: Some(span),
        }
    }

    /// A part of this text.
    pub(super) fn part(&self, start: usize, end: usize) -> Self {
        let mut pieces = Vec::new();
        if self.whole.is_none() {
            pieces.push((0, self.origin(start)));
            let within = self.pieces.iter().filter(|(at, _)| *at > start && *at < end);
            pieces.extend(within.map(|(at, from)| (at - start, *from)));
        }
        Self {
            text: self.text[start..end].to_owned(),
            pieces,
            whole: self.whole,
        }
    }

    /// Adds a here-document below the command line, as the shell reads it.
    pub(super) fn heredoc(&mut self, source: &Source, heredoc: &Heredoc) {
        if !self.text.ends_with('\n') {
            self.text.push('\n');
        }
        self.add_body(source, heredoc);
        self.pieces.push((self.text.len(), heredoc.body.span.end));
        self.text.push_str(&heredoc.delimiter);
        self.text.push('\n');
    }

    fn add_body(&mut self, source: &Source, heredoc: &Heredoc) {
        let mut start = heredoc.body.span.start;
        for line in source.slice(heredoc.body.span).split_inclusive('\n') {
            let tabs = match heredoc.strip_tabs {
                true => line.len() - line.trim_start_matches('\t').len(),
                false => 0,
            };
            self.pieces.push((self.text.len(), start + tabs));
            match line[tabs..].strip_suffix("\r\n") {
                Some(content) => self.text.extend([content, "\n"]),
                None => self.text.push_str(&line[tabs..]),
            }
            start += line.len();
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Where a part of it stands in the source.
    pub(super) fn span(&self, start: usize, end: usize) -> Span {
        if let Some(whole) = self.whole {
            return whole;
        }
        let origin = self.origin(start);
        match start < end {
            true => Span::new(origin, (self.origin(end - 1) + 1).max(origin)),
            false => Span::new(origin, origin),
        }
    }

    fn origin(&self, offset: usize) -> usize {
        let after = self.pieces.partition_point(|(at, _)| *at <= offset);
        match self.pieces.get(after.saturating_sub(1)) {
            Some((at, from)) => from + offset.saturating_sub(*at),
            None => 0,
        }
    }
}
