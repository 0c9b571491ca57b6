//! What is wrong with an instruction, before it becomes a diagnostic with its source.

use plimsoll_diagnostics::{Diagnostic, Severity, Source, Span};

/// A message about a place.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) severity: Severity,
    pub(crate) code: &'static str,
    pub(crate) span: Span,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

pub(crate) type Result<T> = std::result::Result<T, Fault>;

impl Fault {
    pub(crate) fn error(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            span,
            message: message.into(),
            help: None,
        }
    }

    pub(crate) fn warning(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(code, span, message)
        }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Offers a hint that is taken only where there is none yet.
    pub(crate) fn or_help(mut self, help: impl FnOnce() -> Option<String>) -> Self {
        self.help = self.help.or_else(help);
        self
    }

    pub(crate) fn into_diagnostic(self, source: &Source) -> Diagnostic {
        let mut diagnostic = Diagnostic::new(self.severity, self.code, source, self.span, self.message);
        diagnostic.help = self.help;
        diagnostic
    }
}
