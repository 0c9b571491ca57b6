//! Ways to mend what was found: edits of texts, and how sure one may be of them.

use std::sync::Arc;

use serde::Serialize;

use crate::{Source, Span};

/// How sure a fix is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Safety {
    /// A suggestion to read; never applied by itself.
    DisplayOnly,
    /// Probably what is wanted, but it may change what the file means: applied when asked for.
    Unsafe,
    /// The file means the same as before, without the fault.
    Safe,
}

/// A replacement of some bytes of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The file as it was looked at; an empty one that does not exist yet is made.
    pub source: Source,
    /// What is taken away; empty for an insertion.
    pub span: Span,
    /// What comes in its place.
    pub text: String,
}

/// A way to mend a finding: edits that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// What it does, as an order: ``write `apt-get` ``.
    pub title: String,
    /// How sure it is.
    pub safety: Safety,
    /// All of it; edits of one fix do not overlap.
    pub edits: Vec<Edit>,
}

impl Fix {
    /// A fix that keeps the file's meaning.
    pub fn safe(title: impl Into<String>) -> Self {
        Self::new(title, Safety::Safe)
    }

    /// A fix that a person should look at.
    pub fn ask(title: impl Into<String>) -> Self {
        Self::new(title, Safety::Unsafe)
    }

    /// A fix that is only shown.
    pub fn shown(title: impl Into<String>) -> Self {
        Self::new(title, Safety::DisplayOnly)
    }

    fn new(title: impl Into<String>, safety: Safety) -> Self {
        Self {
            title: title.into(),
            safety,
            edits: Vec::new(),
        }
    }

    /// Puts `text` in the place of a span.
    #[must_use]
    pub fn replace(mut self, source: &Source, span: Span, text: impl Into<String>) -> Self {
        self.edits.push(Edit {
            source: source.clone(),
            span,
            text: text.into(),
        });
        self
    }

    /// Puts `text` before the byte at `offset`.
    #[must_use]
    pub fn insert(self, source: &Source, offset: usize, text: impl Into<String>) -> Self {
        self.replace(source, Span::new(offset, offset), text)
    }

    /// Takes a span away.
    #[must_use]
    pub fn delete(self, source: &Source, span: Span) -> Self {
        self.replace(source, span, "")
    }

    /// Makes a file that is not there yet.
    #[must_use]
    pub fn create(self, file: impl Into<Arc<str>>, text: impl Into<String>) -> Self {
        self.replace(&Source::new(file, ""), Span::default(), text)
    }
}
