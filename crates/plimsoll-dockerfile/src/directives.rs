//! The directives: comments of the form `# key=value` at the very top, before anything else.

use plimsoll_diagnostics::{Diagnostic, Source, Span};

use crate::fault::Fault;
use crate::line::{Lines, Physical};
use crate::tree::{Directives, Spanned, Word};

/// Reads the directives and says what is wrong with them.
pub(crate) fn read(source: &Source) -> (Directives, Vec<Diagnostic>) {
    let mut directives = Directives::default();
    let mut faults = Vec::new();
    let mut seen: Vec<String> = Vec::new();
    for directive in found(source, "#") {
        let key = directive.key.value.to_ascii_lowercase();
        if seen.contains(&key) {
            let message = format!("directive `{key}` is given twice");
            faults.push(Fault::error("duplicate-directive", directive.key.span, message));
            continue;
        }
        match key.as_str() {
            "escape" => match directive.value.value.as_str() {
                "\\" => directives.escape = '\\',
                "`" => directives.escape = '`',
                _ => faults.push(wrong_escape(&directive.value)),
            },
            "syntax" => directives.syntax = Some(first_word(&directive.value)),
            _ => directives.check = Some(directive.value),
        }
        seen.push(key);
    }
    (
        directives,
        faults
            .into_iter()
            .map(|fault| fault.into_diagnostic(source))
            .collect(),
    )
}

/// Refuses a frontend that is not the one built in. It may be named in the comment style of
/// another language, or in JSON.
pub(crate) fn check_frontend(source: &Source, directives: &Directives) -> Option<Diagnostic> {
    let named = directives
        .syntax
        .clone()
        .or_else(|| slashes(source))
        .or_else(|| json(source))?;
    if is_built_in(&named.value) {
        return None;
    }
    let message = format!("frontend `{}` is not available", named.value);
    let fault = Fault::error("unknown-frontend", named.span, message)
        .help("only Dockerfile syntax is built in: `# syntax=docker/dockerfile:1`");
    Some(fault.into_diagnostic(source))
}

struct Directive {
    key: Word,
    value: Word,
}

/// Returns the directives up to the first line that is none.
fn found<'a>(source: &'a Source, comment: &'a str) -> impl Iterator<Item = Directive> + 'a {
    let mut lines = Lines::new(&source.text).peekable();
    lines.next_if(|line| line.text.starts_with("#!"));
    lines.map_while(move |line| directive(line, comment))
}

/// Reads `# key = value`, for the keys there are.
fn directive(line: Physical<'_>, comment: &str) -> Option<Directive> {
    let part = |text: &str, rest: &str| {
        let start = line.end() - rest.len();
        Spanned {
            value: text.to_owned(),
            span: Span::new(start, start + text.len()),
        }
    };
    let rest = line.text.trim_start().strip_prefix(comment)?.trim_start();
    let key = &rest[..rest.find(|c: char| !c.is_ascii_alphanumeric())?];
    if !["syntax", "escape", "check"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(key))
    {
        return None;
    }
    let value = rest[key.len()..].trim_start().strip_prefix('=')?.trim_start();
    let trimmed = value.trim_end();
    (!trimmed.is_empty()).then(|| Directive {
        key: part(key, rest),
        value: part(trimmed, value),
    })
}

fn first_word(value: &Word) -> Word {
    let word = value.value.split(' ').next().unwrap_or_default().to_owned();
    let span = Span::new(value.span.start, value.span.start + word.len());
    Spanned { value: word, span }
}

fn wrong_escape(value: &Word) -> Fault {
    let message = format!(
        "escape character `{}` is neither a backslash nor a backtick",
        value.value
    );
    Fault::error("escape-directive", value.span, message)
}

fn slashes(source: &Source) -> Option<Word> {
    found(source, "//")
        .find(|directive| directive.key.value.eq_ignore_ascii_case("syntax"))
        .map(|directive| first_word(&directive.value))
}

fn json(source: &Source) -> Option<Word> {
    let text = source.text.trim_start_matches('\u{feff}');
    if !text.trim_start().starts_with('{') {
        return None;
    }
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    let name = value.get("syntax")?.as_str()?.to_owned();
    let start = source.text.find(&name).unwrap_or(0);
    Some(Spanned {
        span: source.clamp(Span::new(start, start + name.len())),
        value: name,
    })
}

/// Tells whether a frontend is Dockerfile syntax, which needs no download: `dockerfile.v0` or
/// `docker/dockerfile` in one of its version 1 releases or channels.
/// Tells whether a frontend's name, as in `# syntax=`, is one that is built in.
pub fn is_built_in(frontend: &str) -> bool {
    if frontend == "dockerfile.v0" {
        return true;
    }
    let name = frontend.split_once('@').map_or(frontend, |(name, _)| name);
    let registries = ["docker.io/", "index.docker.io/", "registry-1.docker.io/"];
    let name = registries
        .iter()
        .find_map(|registry| name.strip_prefix(registry))
        .unwrap_or(name);
    let (repository, tag) = name.split_once(':').unwrap_or((name, "latest"));
    matches!(repository, "docker/dockerfile" | "docker/dockerfile-upstream") && is_version_one(tag)
}

fn is_version_one(tag: &str) -> bool {
    let version = ["-labs", "-experimental"]
        .iter()
        .find_map(|channel| tag.strip_suffix(channel));
    let version = version.unwrap_or(tag);
    let numbers = |version: &str| {
        let mut parts = version.split('.');
        parts.next() == Some("1")
            && version.split('.').count() <= 3
            && parts.all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    matches!(version, "latest" | "labs" | "master" | "experimental" | "stable") || numbers(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directives(text: &str) -> (Directives, Vec<String>) {
        let (directives, diagnostics) = read(&Source::new("Dockerfile", text));
        (
            directives,
            diagnostics
                .into_iter()
                .map(|diagnostic| diagnostic.message)
                .collect(),
        )
    }

    #[test]
    fn directives_stand_at_the_top() {
        let text = "\u{feff}#!/usr/bin/env plimsoll\n # Escape = ` \r\n#syntax=docker/dockerfile:1 # x\n#check=skip=all;error=true\nFROM x\n";
        let (found, wrong) = directives(text);
        assert_eq!(wrong, Vec::<String>::new());
        assert_eq!(found.escape, '`');
        let syntax = found.syntax.unwrap();
        assert_eq!(syntax.value, "docker/dockerfile:1");
        assert_eq!(&text[syntax.span.range()], "docker/dockerfile:1");
        let check = found.check.unwrap();
        assert_eq!(check.value, "skip=all;error=true");
        assert_eq!(&text[check.span.range()], "skip=all;error=true");
    }

    #[test]
    fn anything_else_ends_them() {
        for top in ["\n", "# a comment\n", "# unknown=x\n", "FROM x\n", "#\n"] {
            assert_eq!(
                directives(&format!("{top}# escape=`\n")).0,
                Directives::default(),
                "{top:?}"
            );
        }
        assert_eq!(directives("# escape=\nFROM x").0, Directives::default());
    }

    #[test]
    fn wrong_directives_are_told() {
        assert_eq!(
            directives("# escape=`\n# ESCAPE=\\\n").1,
            ["directive `escape` is given twice"]
        );
        assert_eq!(directives("# escape=`\n# ESCAPE=\\\n").0.escape, '`');
        assert_eq!(
            directives("# escape=^\n").1,
            ["escape character `^` is neither a backslash nor a backtick"]
        );
    }

    #[test]
    fn frontends_that_are_built_in() {
        for name in [
            "docker/dockerfile",
            "docker/dockerfile:1",
            "docker/dockerfile:1.7",
            "docker/dockerfile:1.7.0",
            "docker/dockerfile:1-labs",
            "docker/dockerfile:1.4-labs",
            "docker.io/docker/dockerfile:1",
            "docker/dockerfile:1@sha256:0123",
            "docker/dockerfile-upstream:master",
            "dockerfile.v0",
        ] {
            assert!(is_built_in(name), "{name}");
        }
        for name in [
            "docker/dockerfile:2",
            "docker/dockerfile:1.",
            "docker/dockerfile:1.2.3.4",
            "docker/dockerfiles:1",
            "ghcr.io/acme/frontend",
            "tonistiigi/dockerfile:1",
            "docker/dockerfile:10",
            "",
        ] {
            assert!(!is_built_in(name), "{name}");
        }
    }

    #[test]
    fn other_ways_to_name_a_frontend() {
        let refused = |text: &str| {
            let source = Source::new("f", text);
            check_frontend(&source, &read(&source).0).map(|diagnostic| diagnostic.message)
        };
        let message = Some("frontend `acme/x` is not available".to_owned());
        assert_eq!(refused("# syntax=acme/x\nFROM x\n"), message);
        assert_eq!(refused("// syntax=acme/x\nfunc main() {}\n"), message);
        assert_eq!(refused("{\"syntax\": \"acme/x\"}\n"), message);
        assert_eq!(refused("# syntax=docker/dockerfile:1\nFROM x\n"), None);
        assert_eq!(refused("FROM x\n"), None);
    }
}
