//! Build arguments and variables that look like credentials.
//!
//! Both stay in the image for everybody to read: ENV in its configuration, ARG in the history of each RUN. A mounted
//! secret does not. Values are looked at and never shown.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_diagnostics::{Diagnostic, Source, Span};
use plimsoll_dockerfile::{InstructionKind, Word};
use plimsoll_oci::Digest;

use crate::plan::Plan;

/// Words that make a name one of a credential.
const WORDS: &[&str] = &[
    "apikey",
    "auth",
    "credential",
    "credentials",
    "passphrase",
    "passwd",
    "password",
    "pword",
    "secret",
    "token",
];
/// What stands before `key` when it is not a public one.
const KEYS: &[&str] = &[
    "access",
    "api",
    "auth",
    "deploy",
    "encryption",
    "private",
    "secret",
    "signing",
    "ssh",
];
/// What comes last in the name of something about a credential.
const ABOUT: &[&str] = &[
    "dir", "expiry", "file", "id", "length", "name", "path", "ttl", "type", "url", "user",
];
/// What tokens of well-known makers begin with, and their least length.
const SHAPES: &[(&str, usize)] = &[
    ("ghp_", 20),
    ("gho_", 20),
    ("ghs_", 20),
    ("github_pat_", 30),
    ("glpat-", 20),
    ("npm_", 30),
    ("pypi-", 30),
    ("xoxb-", 20),
    ("xoxp-", 20),
    ("AKIA", 20),
    ("ASIA", 20),
];

/// A warning for each name, at its first declaration in the stages that are built.
pub(crate) fn warnings(plan: &Plan<'_>, build_args: &BTreeMap<String, String>) -> Vec<Diagnostic> {
    let mut seen = BTreeSet::new();
    let mut found: Vec<Found<'_>> = Vec::new();
    for step in plan.stages.iter().flatten().flat_map(|stage| &stage.steps) {
        let declared: Vec<(&Word, Option<&str>, Option<Span>)> = match &step.instruction.kind {
            InstructionKind::Arg(arguments) => arguments
                .iter()
                .map(|argument| {
                    let given = build_args.get(&argument.name.value).map(String::as_str);
                    let default = argument.default.as_ref();
                    let value = given.or(default.map(|word| word.value.as_str()));
                    (&argument.name, value, default.map(|word| word.span))
                })
                .collect(),
            InstructionKind::Env(pairs) => pairs
                .iter()
                .map(|pair| (&pair.key, Some(pair.value.value.as_str()), Some(pair.value.span)))
                .collect(),
            _ => continue,
        };
        let is_arg = matches!(step.instruction.kind, InstructionKind::Arg(_));
        for (name, value, place) in declared {
            if is_credential(&name.value) || value.is_some_and(is_token) {
                found.push(Found {
                    source: step.source,
                    name,
                    value: place,
                    is_arg,
                });
            }
        }
    }
    let first = found.iter().filter(|one| seen.insert(&one.name.value));
    first
        .map(|one| one.warning(&covered(one.source, &found)))
        .collect()
}

/// A declaration of what looks like a credential.
struct Found<'a> {
    source: &'a Source,
    name: &'a Word,
    /// Where its value stands.
    value: Option<Span>,
    is_arg: bool,
}

/// The text with stars in the place of all values that were found in it: frames show the lines around, too.
fn covered(source: &Source, found: &[Found<'_>]) -> Source {
    let mut bytes = source.text.as_bytes().to_vec();
    let same = found.iter().filter(|one| one.source.name == source.name);
    for span in same.filter_map(|one| one.value) {
        for byte in &mut bytes[source.clamp(span).range()] {
            if !matches!(byte, b'\n' | b'\r') {
                *byte = b'*';
            }
        }
    }
    let text = String::from_utf8(bytes).expect("whole characters are replaced");
    Source::new(source.name.clone(), text)
}

impl Found<'_> {
    fn warning(&self, source: &Source) -> Diagnostic {
        let (text, place) = match self.is_arg {
            true => ("an ARG", "in the history of the image"),
            false => ("an ENV", "in the configuration of the image"),
        };
        let name = &self.name.value;
        let message = format!("`{name}` looks like a credential, and the value of {text} stays {place}");
        let id = name.to_ascii_lowercase();
        Diagnostic::warning("credential-in-image", source, self.name.span, message).with_help(format!(
            "mount it where it is needed: `RUN --mount=type=secret,id={id},env={name} …`, and pass `--secret id={id},env={name}` to the build"
        ))
    }
}

/// A value as it may be kept beside a build, and whether it was hidden: a short hash tells at least that it changed.
pub(crate) fn shown_value(name: &str, value: &str) -> (String, bool) {
    if is_credential(name) || is_token(value) {
        return (Digest::of(value).hex()[..8].to_owned(), true);
    }
    (crate::source::without_credentials(value), false)
}

/// Names of build arguments that look like credentials, or whose values do.
pub(crate) fn hidden(build_args: &BTreeMap<String, String>) -> Vec<String> {
    let hidden = build_args
        .iter()
        .filter(|(name, value)| shown_value(name, value).1);
    hidden.map(|(name, _)| name.clone()).collect()
}

fn is_credential(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let parts: Vec<&str> = name.split('_').collect();
    if parts.contains(&"public") || parts.last().is_some_and(|last| ABOUT.contains(last)) {
        return false;
    }
    let is_word = parts.iter().any(|part| WORDS.contains(part));
    let is_key = parts
        .windows(2)
        .any(|pair| KEYS.contains(&pair[0]) && pair[1] == "key");
    is_word || is_key || name.ends_with("password")
}

fn is_token(value: &str) -> bool {
    let value = value.trim_matches(['"', '\'']);
    let shaped = |(prefix, least): &(&str, usize)| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        value.starts_with(prefix) && value.len() >= *least && value.chars().all(plain)
    };
    SHAPES.iter().any(shaped) || (value.starts_with("-----BEGIN") && value.contains("PRIVATE KEY"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_credentials() {
        for name in [
            "GITHUB_TOKEN",
            "npm_token",
            "DB_PASSWORD",
            "PGPASSWORD",
            "AWS_SECRET_ACCESS_KEY",
            "API_KEY",
            "SSH_PRIVATE_KEY",
            "NPM_AUTH",
            "APIKEY",
        ] {
            assert!(is_credential(name), "{name}");
        }
        for name in [
            "TOKENIZER",
            "GPG_KEY",
            "PUBLIC_KEY",
            "DB_PASSWORD_FILE",
            "AWS_ACCESS_KEY_ID",
            "AUTHOR",
            "KEYBOARD",
            "PATH",
        ] {
            assert!(!is_credential(name), "{name}");
        }
    }

    #[test]
    fn shapes_of_tokens() {
        for value in [
            "ghp_0123456789abcdefABCD",
            "AKIAIOSFODNN7EXAMPLE",
            "\"-----BEGIN OPENSSH PRIVATE KEY-----\"",
        ] {
            assert!(is_token(value), "{value}");
        }
        for value in ["ghp_$X", "AKIA", "npm_config", "", "-----BEGIN CERTIFICATE-----"] {
            assert!(!is_token(value), "{value}");
        }
    }
}
