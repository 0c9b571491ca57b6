//! What the user wants: which rules, how bad, and what they are told.

use std::collections::BTreeMap;

use plimsoll_diagnostics::Severity;
use serde_json::Value;

use crate::rule::Rule;

/// Settings of a check: plain data, whatever file or flag they come from.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Rules by their id: off, or how bad their findings are.
    pub levels: BTreeMap<String, Level>,
    /// Registries that base images may come from (`docker.io`, `*.example.com`); empty allows all.
    pub trusted_registries: Vec<String>,
    /// Labels that an image has to have, and of what form.
    pub label_schema: BTreeMap<String, LabelForm>,
    /// Whether other labels than those of the schema are wrong.
    pub strict_labels: bool,
    /// What rules are told: rule, name, value.
    pub options: BTreeMap<String, BTreeMap<String, Value>>,
}

/// What becomes of a rule's findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// They are not looked for.
    Off,
    /// They are as bad as this.
    At(Severity),
}

/// What a label's value has to look like (hadolint's label schema).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelForm {
    /// Anything that is not empty.
    Text,
    /// A URL.
    Url,
    /// A date and time of RFC 3339.
    Rfc3339,
    /// An SPDX licence expression.
    Spdx,
    /// A commit of git.
    GitHash,
    /// A semantic version.
    SemVer,
    /// An e-mail address.
    Email,
}

impl Config {
    /// Tells whether a rule looks.
    pub fn wants(&self, rule: &Rule) -> bool {
        match self.levels.get(rule.id) {
            Some(level) => *level != Level::Off,
            None => rule.default,
        }
    }

    pub(crate) fn severity(&self, rule: &Rule, own: Option<Severity>) -> Severity {
        match self.levels.get(rule.id) {
            Some(Level::At(severity)) => *severity,
            _ => own.unwrap_or(rule.severity),
        }
    }

    pub(crate) fn option(&self, rule: &str, name: &str) -> Option<&Value> {
        self.options.get(rule)?.get(name)
    }
}
