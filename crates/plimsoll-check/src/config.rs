//! What the user wants: which rules, how bad, and what they are told.

mod hadolint;
mod settings;

use std::collections::BTreeMap;

use plimsoll_diagnostics::{Diagnostic, Severity, nearest};
use plimsoll_dockerfile::IgnoreFile;
use serde_json::Value;

use crate::rule::Rule;
use crate::rules;
pub use settings::CheckSettings;

/// Settings of a check: plain data, whatever file or flag they come from. Later ones win.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Rules by their id: off, or how bad their findings are.
    pub levels: BTreeMap<String, Level>,
    /// Findings that only have a name elsewhere (`SC2086`), by that name.
    pub alias_levels: BTreeMap<String, Level>,
    /// Levels for some files only, later ones first to be asked.
    pub paths: Vec<PathLevels>,
    /// Registries that base images may come from (`docker.io`, `*.example.com`); empty allows all.
    pub trusted_registries: Vec<String>,
    /// Labels that an image has to have, and of what form.
    pub label_schema: BTreeMap<String, LabelForm>,
    /// Whether other labels than those of the schema are wrong.
    pub strict_labels: bool,
    /// What rules are told: rule, name, value.
    pub options: BTreeMap<String, BTreeMap<String, Value>>,
    /// From which severity on a check has failed.
    pub fail_on: Option<FailOn>,
    /// Whether comments that hide findings count for nothing.
    pub no_suppressions: bool,
    /// The day, `2026-11-21`, for suppressions that end.
    pub today: Option<String>,
}

/// From which severity on a check has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailOn {
    /// This one and worse.
    AtLeast(Severity),
    /// No finding is bad enough.
    Never,
}

/// What becomes of a rule's findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// They are not looked for.
    Off,
    /// They are as bad as this.
    At(Severity),
}

/// Levels for the files that some patterns match.
#[derive(Clone, Debug)]
pub struct PathLevels {
    files: IgnoreFile,
    levels: BTreeMap<String, Level>,
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

/// An id that no rule has, with the nearest that one has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no rule is called `{id}`")]
pub struct UnknownRule {
    /// What was asked for.
    pub id: String,
    /// What was perhaps meant.
    pub near: Option<&'static str>,
}

/// A name of a severity or label form that there is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is none of {known}")]
pub struct UnknownWord {
    given: String,
    known: &'static str,
}

impl Config {
    /// Tells whether a rule looks.
    pub fn wants(&self, rule: &Rule) -> bool {
        match self.levels.get(rule.id) {
            Some(level) => *level != Level::Off,
            None => rule.default,
        }
    }

    /// Sets what becomes of the findings of an id, ours or another tool's.
    pub fn set(&mut self, id: &str, level: Level) -> Result<(), UnknownRule> {
        let found = rules::named(id);
        for rule in found {
            self.levels.insert(rule.id.to_owned(), level);
        }
        if !found.is_empty() {
            return Ok(());
        }
        if is_shellcheck(id) {
            self.alias_levels.insert(id.to_ascii_uppercase(), level);
            return Ok(());
        }
        Err(UnknownRule::new(id))
    }

    /// From which severity on a check has failed: what was said, or warnings.
    pub fn fails_on(&self, severity: Severity) -> bool {
        match self.fail_on.unwrap_or(FailOn::AtLeast(Severity::Warning)) {
            FailOn::AtLeast(least) => severity >= least,
            FailOn::Never => false,
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

    /// What names of other tools and the file's path say about a finding; false drops it.
    pub(crate) fn adjust(&self, finding: &mut Diagnostic) -> bool {
        let named = finding
            .aliases
            .iter()
            .find_map(|alias| self.alias_levels.get(alias.as_ref()));
        let by_path = || {
            let path = &*finding.source.name;
            let mut fitting = self.paths.iter().rev().filter(|one| one.files.excludes(path));
            fitting.find_map(|one| one.levels.get(finding.code))
        };
        match by_path().or(named) {
            Some(Level::Off) => return false,
            Some(Level::At(severity)) => finding.severity = *severity,
            None => {}
        }
        true
    }
}

impl PathLevels {
    fn set(&mut self, id: &str, level: Level) -> Result<(), UnknownRule> {
        let found = rules::named(id);
        let levels = found.iter().map(|rule| (rule.id.to_owned(), level));
        self.levels.extend(levels);
        match found.is_empty() {
            true => Err(UnknownRule::new(id)),
            false => Ok(()),
        }
    }
}

impl UnknownRule {
    pub(crate) fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            near: nearest(id, rules::all().map(|rule| rule.id)),
        }
    }
}

fn is_shellcheck(id: &str) -> bool {
    let digits = id
        .get(..2)
        .filter(|letters| letters.eq_ignore_ascii_case("SC"))
        .map(|_| &id[2..]);
    digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Reads `error`, `warning`, `info` or `style`.
pub fn severity(name: &str) -> Result<Severity, UnknownWord> {
    Ok(match name {
        "error" => Severity::Error,
        "warning" => Severity::Warning,
        "info" => Severity::Info,
        "style" => Severity::Style,
        _ => {
            return Err(UnknownWord {
                given: name.to_owned(),
                known: "`error`, `warning`, `info`, `style`",
            });
        }
    })
}

impl std::str::FromStr for FailOn {
    type Err = UnknownWord;

    /// A severity, or `none` (hadolint says `ignore`).
    fn from_str(name: &str) -> Result<Self, UnknownWord> {
        match name {
            "none" | "ignore" => Ok(Self::Never),
            _ => severity(name).map(Self::AtLeast).map_err(|error| UnknownWord {
                known: "`error`, `warning`, `info`, `style`, `none`",
                ..error
            }),
        }
    }
}

impl std::str::FromStr for LabelForm {
    type Err = UnknownWord;

    fn from_str(name: &str) -> Result<Self, UnknownWord> {
        Ok(match name {
            "text" | "raw" | "rawtext" | "" => Self::Text,
            "url" => Self::Url,
            "rfc3339" => Self::Rfc3339,
            "spdx" => Self::Spdx,
            "hash" => Self::GitHash,
            "semver" => Self::SemVer,
            "email" => Self::Email,
            _ => {
                return Err(UnknownWord {
                    given: name.to_owned(),
                    known: "`text`, `url`, `rfc3339`, `spdx`, `hash`, `semver`, `email`",
                });
            }
        })
    }
}

#[cfg(test)]
mod tests;
