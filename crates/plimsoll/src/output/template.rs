//! Go templates: the subset that Docker's `--format` is used with.
use serde_json::Value;

/// A parsed template.
pub(crate) struct Template(String);

/// Why a template cannot be used, in Go's words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct TemplateError(pub(crate) String);

impl Template {
    /// Parses `text`.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        Ok(Self(text.to_owned()))
    }

    /// Fills in `value`.
    pub(crate) fn render(&self, value: &Value) -> Result<String, TemplateError> {
        Ok(format!("{}{value}", self.0))
    }
}
