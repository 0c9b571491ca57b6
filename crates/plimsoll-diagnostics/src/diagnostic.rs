//! Messages about places in a text.

use std::borrow::Cow;

use serde::Serialize;

use crate::{Fix, Source, Span};

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
    /// What other tools call it.
    pub aliases: Vec<Cow<'static, str>>,
    /// The page of its rule, from the root of this repository.
    pub url: Option<String>,
    /// How to mend it.
    pub fix: Option<Fix>,
}

impl Diagnostic {
    /// Makes a diagnostic about one place.
    pub fn new(
        severity: Severity,
        code: &'static str,
        source: &Source,
        span: Span,
        message: impl Into<String>,
    ) -> Self {
        let label = Label {
            span,
            message: String::new(),
        };
        Self {
            code,
            severity,
            message: message.into(),
            source: source.clone(),
            labels: vec![label],
            help: None,
            aliases: Vec::new(),
            url: None,
            fix: None,
        }
    }

    /// Makes an error about one place.
    pub fn error(code: &'static str, source: &Source, span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, source, span, message)
    }

    /// Makes a warning about one place.
    pub fn warning(code: &'static str, source: &Source, span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, source, span, message)
    }

    /// Says how to get out of it.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds a place that explains.
    #[must_use]
    pub fn with_label(mut self, span: Span, message: impl Into<String>) -> Self {
        self.labels.push(Label {
            span,
            message: message.into(),
        });
        self
    }

    /// Returns the place the message is about, where there is one.
    pub fn span(&self) -> Option<Span> {
        self.labels.first().map(|label| label.span)
    }
}

/// A place with a word about it.
#[derive(Clone, Debug)]
pub struct Label {
    /// Where.
    pub span: Span,
    /// What about it; may be empty.
    pub message: String,
}
