//! The forms in which diagnostics leave: one file each.

mod checkstyle;
mod github;
mod gitlab;
mod gnu;
mod json;
mod junit;
mod markdown;
mod sarif;
pub mod text;
mod xml;

use std::collections::HashMap;

use crate::{Diagnostic, Position, Safety, Severity, Source, Span};

/// What a check has to say, whatever the form.
#[derive(Debug, Default)]
pub struct Report<'a> {
    /// What was found, by file and place.
    pub findings: &'a [Diagnostic],
    /// What was found and is hidden by comments.
    pub hidden: Vec<Hidden<'a>>,
    /// What could not be looked at, one line each.
    pub errors: &'a [String],
    /// The rules that the findings name.
    pub rules: Vec<RuleInfo>,
    /// Names of the files and images that were looked at.
    pub files: &'a [String],
    /// Version of this program.
    pub version: &'a str,
}

/// A finding that a comment hides.
#[derive(Debug)]
pub struct Hidden<'a> {
    /// The finding.
    pub finding: &'a Diagnostic,
    /// Why, where the comment says so.
    pub reason: Option<&'a str>,
}

/// A rule, for readers that show more than a finding.
#[derive(Clone, Debug)]
pub struct RuleInfo {
    /// Its id.
    pub id: &'static str,
    /// What its findings are as a rule.
    pub severity: Severity,
    /// What is wrong, in one sentence.
    pub summary: String,
    /// Its manual page, in Markdown.
    pub page: String,
    /// What other tools call it.
    pub aliases: &'static [&'static str],
}

/// A form of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people: code frames.
    #[default]
    Text,
    /// One object.
    Json,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// Annotations of GitHub's workflow runs.
    Github,
    /// GitLab's code quality report.
    Gitlab,
    /// Checkstyle's XML.
    Checkstyle,
    /// JUnit's XML.
    Junit,
    /// Lines as compilers write them.
    Gnu,
    /// A table for a comment on a change.
    Markdown,
}

impl Format {
    /// The names of all forms.
    pub const NAMES: [&'static str; 9] = [
        "text",
        "json",
        "sarif",
        "github",
        "gitlab",
        "checkstyle",
        "junit",
        "gnu",
        "markdown",
    ];
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Ok(match name {
            "text" | "tty" => Self::Text,
            "json" => Self::Json,
            "sarif" => Self::Sarif,
            "github" => Self::Github,
            "gitlab" => Self::Gitlab,
            "checkstyle" => Self::Checkstyle,
            "junit" => Self::Junit,
            "gnu" => Self::Gnu,
            "markdown" => Self::Markdown,
            _ => return Err(format!("expected one of {}", Self::NAMES.join(", "))),
        })
    }
}

impl Report<'_> {
    /// Writes the report in a form; the text ends with a newline unless it is empty.
    pub fn emit(&self, format: Format, color: bool) -> String {
        match format {
            Format::Text => text::report(self, color),
            Format::Json => json::emit(self),
            Format::Sarif => sarif::emit(self),
            Format::Github => github::emit(self),
            Format::Gitlab => gitlab::emit(self),
            Format::Checkstyle => checkstyle::emit(self),
            Format::Junit => junit::emit(self),
            Format::Gnu => gnu::emit(self),
            Format::Markdown => markdown::emit(self),
        }
    }

    fn count(&self, severity: Severity) -> usize {
        let of_it = self
            .findings
            .iter()
            .filter(|finding| finding.severity == severity);
        of_it.count()
    }

    fn fixable(&self, safety: Safety) -> usize {
        let fixes = self.findings.iter().filter_map(|finding| finding.fix.as_ref());
        fixes.filter(|fix| fix.safety == safety).count()
    }

    /// The findings of each file, in the order of the findings.
    fn by_file(&self) -> Vec<(&str, Vec<&Diagnostic>)> {
        let mut files: Vec<(&str, Vec<&Diagnostic>)> = Vec::new();
        for finding in self.findings {
            match files.last_mut() {
                Some((file, list)) if *file == &*finding.source.name => list.push(finding),
                _ => files.push((&finding.source.name, vec![finding])),
            }
        }
        files
    }
}

/// Where something begins and ends; the end is one past the last character.
struct Region {
    start: Position,
    end: Position,
}

impl Region {
    fn of(finding: &Diagnostic) -> Self {
        Self::new(&finding.source, finding.span().unwrap_or_default())
    }

    fn new(source: &Source, span: Span) -> Self {
        let start = source.position(span.start);
        let end = match span.is_empty() {
            true => start,
            false => source.position(span.end),
        };
        Self { start, end }
    }
}

/// Numbers that tell a finding from all others of a report and stay the same when lines move: made of the rule, the
/// file and the message, never of the text found, which may be a secret.
#[derive(Default)]
struct Fingerprints {
    seen: HashMap<u64, u64>,
}

impl Fingerprints {
    fn of(&mut self, finding: &Diagnostic) -> String {
        let parts = [finding.code, &finding.source.name, &finding.message];
        let hash = parts
            .iter()
            .fold(FNV_OFFSET, |hash, part| fnv(fnv(hash, part.as_bytes()), &[0]));
        let count = self.seen.entry(hash).or_default();
        *count += 1;
        format!("{:016x}", fnv(hash, &count.to_le_bytes()))
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a: the standard library's hash may change with the compiler.
fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

fn name(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "info",
        Severity::Style => "style",
    }
}

#[cfg(test)]
mod tests;
