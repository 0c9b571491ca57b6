//! One comment.

use plimsoll_diagnostics::Span;
use plimsoll_dockerfile::{Spanned, Word};

/// Whose words they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Own,
    Hadolint,
    BuildKit,
    Trivy,
    Checkov,
}

impl Dialect {
    /// Whether `all` is every rule.
    pub(super) fn has_all(self) -> bool {
        matches!(self, Self::Own | Self::BuildKit)
    }
}

/// How far a comment reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The instruction or key below.
    Next,
    /// The whole file.
    File,
}

/// A comment that is meant for a checker.
#[derive(Debug)]
pub(crate) enum Pragma {
    Ignore(Ignore),
    /// Which shell runs the commands.
    Shell(String),
}

#[derive(Debug)]
pub(crate) struct Ignore {
    pub(crate) dialect: Dialect,
    pub(crate) reach: Reach,
    pub(crate) ids: Vec<Word>,
    pub(crate) reason: Option<String>,
    pub(crate) until: Option<Word>,
    /// `error=true`
    pub(crate) strict: bool,
}

/// A text that knows where it stands.
#[derive(Clone, Copy)]
struct Text<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Text<'a> {
    fn after(self, length: usize) -> Self {
        let rest = &self.text[length..];
        let text = rest.trim_start();
        Self {
            text,
            at: self.at + length + (rest.len() - text.len()),
        }
    }

    fn strip(self, prefix: &str) -> Option<Self> {
        let head = self.text.get(..prefix.len())?;
        head.eq_ignore_ascii_case(prefix)
            .then(|| self.after(prefix.len()))
    }

    /// `key` `=`, blanks allowed around the sign.
    fn key(self, key: &str) -> Option<Self> {
        self.strip(key)?.strip("=")
    }

    /// The words between commas, up to the first that is followed by anything else; and the rest.
    fn ids(self) -> (Vec<Word>, Self) {
        let mut ids = Vec::new();
        let mut rest = self;
        loop {
            let is_id = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
            let end = rest.text.find(|letter| !is_id(letter)).unwrap_or(rest.text.len());
            if end > 0 {
                ids.push(Spanned {
                    value: rest.text[..end].to_owned(),
                    span: Span::new(rest.at, rest.at + end),
                });
            }
            rest = rest.after(end);
            match rest.strip(",") {
                Some(after) => rest = after,
                None => return (ids, rest),
            }
        }
    }

    fn reason(self, marks: &[&str]) -> Option<String> {
        let text = self.text.trim();
        let text = marks
            .iter()
            .find_map(|mark| text.strip_prefix(mark))
            .unwrap_or(text);
        Some(text.trim().to_owned()).filter(|reason| !reason.is_empty())
    }
}

/// Reads a comment; `at` is where its `#` stands.
pub(super) fn parse(text: &str, at: usize) -> Option<Pragma> {
    let comment = Text { text, at }.strip("#")?;
    if let Some(rest) = comment.strip("plimsoll") {
        return own(rest);
    }
    if let Some(rest) = comment.strip("hadolint") {
        return hadolint(rest);
    }
    if let Some(rest) = comment.key("check") {
        return buildkit(rest);
    }
    if let Some(rest) = comment.strip("trivy:ignore:") {
        let (ids, rest) = rest.ids();
        return ignore(Dialect::Trivy, Reach::Next, ids, rest.reason(&[]));
    }
    let rest = comment.strip("checkov:skip=")?;
    let (ids, rest) = rest.ids();
    ignore(Dialect::Checkov, Reach::File, ids, rest.reason(&[":"]))
}

fn own(rest: Text<'_>) -> Option<Pragma> {
    let (reach, rest) = match rest.strip("global") {
        Some(rest) => (Reach::File, rest),
        None => (Reach::Next, rest),
    };
    let (ids, mut rest) = rest.key("ignore")?.ids();
    let mut until = None;
    if let Some(date) = rest.key("until") {
        let end = date.text.find(char::is_whitespace).unwrap_or(date.text.len());
        until = Some(Spanned {
            value: date.text[..end].to_owned(),
            span: Span::new(date.at, date.at + end),
        });
        rest = date.after(end);
    }
    Some(Pragma::Ignore(Ignore {
        dialect: Dialect::Own,
        reach,
        ids,
        reason: rest.reason(&["--", "//", "#"]),
        until,
        strict: false,
    }))
}

fn hadolint(rest: Text<'_>) -> Option<Pragma> {
    if let Some(shell) = rest.key("shell") {
        let name = shell.text.split_whitespace().next()?;
        return Some(Pragma::Shell(name.to_owned()));
    }
    let (reach, rest) = match rest.strip("global") {
        Some(rest) => (Reach::File, rest),
        None => (Reach::Next, rest),
    };
    let (ids, rest) = rest.key("ignore")?.ids();
    ignore(Dialect::Hadolint, reach, ids, rest.reason(&["#", "--", "//"]))
}

/// `skip=A,B;error=true;experimental=C // reason`
fn buildkit(rest: Text<'_>) -> Option<Pragma> {
    let (mut ids, mut strict) = (Vec::new(), false);
    let mut rest = rest;
    loop {
        if let Some(skip) = rest.key("skip") {
            (ids, rest) = skip.ids();
        } else if let Some(error) = rest.key("error") {
            strict = error.strip("true").is_some();
            rest = error.ids().1;
        } else {
            rest = rest.key("experimental")?.ids().1;
        }
        match rest.strip(";") {
            Some(after) => rest = after,
            None => break,
        }
    }
    Some(Pragma::Ignore(Ignore {
        dialect: Dialect::BuildKit,
        reach: Reach::Next,
        ids,
        reason: rest.reason(&["//", "#"]),
        until: None,
        strict,
    }))
}

fn ignore(dialect: Dialect, reach: Reach, ids: Vec<Word>, reason: Option<String>) -> Option<Pragma> {
    Some(Pragma::Ignore(Ignore {
        dialect,
        reach,
        ids,
        reason,
        until: None,
        strict: false,
    }))
}
