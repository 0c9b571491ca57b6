//! Source text, spans, diagnostics, fixes; renderers.

use std::ops::Range;
use std::sync::Arc;

use serde::Serialize;

/// A named text that spans point into; cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Path as the user knows it, or `<stdin>`.
    pub name: Arc<str>,
    /// The whole text.
    pub text: Arc<str>,
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
    /// Returns the range.
    pub fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Matter of taste.
    Style,
    /// Worth knowing.
    Info,
    /// Probably a mistake.
    Warning,
    /// Cannot work.
    Error,
}

/// A message about a place in a text.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// Rule or error code, `unknown-instruction`.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Lower case, no full stop, values in backticks.
    pub message: String,
    /// The text the labels point into.
    pub source: Source,
    /// The first is the place; others explain.
    pub labels: Vec<Label>,
    /// The way out.
    pub help: Option<String>,
}

/// A place with a word about it.
#[derive(Clone, Debug)]
pub struct Label {
    /// Where.
    pub span: Span,
    /// What about it; may be empty.
    pub message: String,
}
