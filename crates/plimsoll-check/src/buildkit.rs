//! What a build says about its Dockerfile: BuildKit's checks in BuildKit's words, for `build --check` and for the end of a
//! build, and the answers to `--call outline` and `--call targets`.
//!
//! The rules are ours; a finding of one that BuildKit has too is told as BuildKit tells it, so that whoever reads its JSON
//! reads this.

mod outline;
mod words;

use plimsoll_diagnostics::{Diagnostic, Severity, Source};
use serde_json::{Value, json};

use crate::config::{Config, Level};
use crate::rules;
use crate::secret;
use crate::view::{DockerfileView, Workspace};
pub use outline::{Outline, Parameter, Target, Targets, outline, targets};

/// A check that found something, as BuildKit tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildWarning {
    /// BuildKit's name of the check.
    pub rule: &'static str,
    /// What the check is about.
    pub description: &'static str,
    /// What it found.
    pub detail: String,
    /// First line of the instruction, from 1.
    pub first_line: usize,
    /// Its last line.
    pub last_line: usize,
}

/// What the checks of a build found.
#[derive(Clone, Debug, Default)]
pub struct BuildChecks {
    /// In the order of the text.
    pub warnings: Vec<BuildWarning>,
    /// `# check=error=true`: a build with warnings is to fail.
    pub strict: bool,
}

impl BuildWarning {
    /// Where Docker explains it.
    pub fn url(&self) -> String {
        let mut page = String::new();
        for (at, letter) in self.rule.char_indices() {
            let follows = self.rule[..at].ends_with(|before: char| before.is_ascii_lowercase());
            let begins =
                self.rule[at + letter.len_utf8()..].starts_with(|next: char| next.is_ascii_lowercase());
            if letter.is_ascii_uppercase() && at > 0 && (follows || begins) {
                page.push('-');
            }
            page.push(letter.to_ascii_lowercase());
        }
        format!("https://docs.docker.com/go/dockerfile/rule/{page}/")
    }

    /// As BuildKit's `lint.Warning`.
    pub fn to_json(&self) -> Value {
        json!({
            "ruleName": self.rule,
            "description": self.description,
            "url": self.url(),
            "detail": self.detail,
            "location": location(self.first_line, self.last_line),
        })
    }
}

/// Lines as BuildKit tells them: each on its own.
fn location(first: usize, last: usize) -> Value {
    let range = |line: usize| json!({"start": {"line": line}, "end": {"line": line}});
    json!({"ranges": (first..=last).map(range).collect::<Vec<Value>>()})
}

/// Runs BuildKit's checks over the only Dockerfile of a workspace. `asked` is what the build argument
/// `BUILDKIT_DOCKERFILE_CHECK` says: `skip=A,B;error=true`.
pub fn build_checks(workspace: &Workspace, asked: Option<&str>) -> BuildChecks {
    let Some(view) = workspace.dockerfiles.first() else {
        return BuildChecks::default();
    };
    let asked = Asked::read(asked.unwrap_or_default());
    let found = crate::check(workspace, &only_build_checks()).findings;
    let mut warnings: Vec<BuildWarning> = found
        .iter()
        .filter_map(|finding| warning(view, finding))
        .filter(|warning| !asked.skips(warning.rule))
        .collect();
    warnings.sort_by_key(|warning| warning.first_line);
    BuildChecks {
        warnings,
        strict: asked.strict || view.comments().strict,
    }
}

/// The text of a Dockerfile, secrets covered: it may be shown.
pub fn shown(source: &Source) -> String {
    let mut text = secret::masked(&source.text);
    let view = DockerfileView::new("Dockerfile", source, crate::view::BuildSettings::default());
    let workspace = Workspace {
        dockerfiles: vec![view],
        ..Workspace::default()
    };
    for value in crate::check(&workspace, &only_build_checks()).secrets {
        text = text.replace(value.as_str(), "****");
    }
    text
}

/// The settings under which nothing but BuildKit's checks looks.
fn only_build_checks() -> Config {
    let mut config = Config::default();
    for rule in rules::all() {
        let wanted = rule.default && rule.aliases.iter().any(|alias| words::is_known(alias));
        if !wanted {
            config.levels.insert(rule.id.to_owned(), Level::Off);
        }
    }
    config
}

fn warning(view: &DockerfileView, finding: &Diagnostic) -> Option<BuildWarning> {
    let span = finding.span()?;
    let step = view
        .steps()
        .find(|step| step.span().start <= span.start && span.start <= step.span().end);
    let (rule, description, detail) = words::of(view, finding, step)?;
    let lines = step.map_or(span, |step| step.span());
    let line = |offset: usize| view.source.position(offset).line;
    let last_line = line(lines.end.saturating_sub(usize::from(lines.end > lines.start)));
    Some(BuildWarning {
        rule,
        description,
        detail,
        first_line: if rule == "NoEmptyContinuation" {
            last_line
        } else {
            line(lines.start)
        },
        last_line,
    })
}

/// What the build argument asks for.
struct Asked<'a> {
    skip: Vec<&'a str>,
    strict: bool,
}

impl<'a> Asked<'a> {
    fn read(text: &'a str) -> Self {
        let field = |name: &str| {
            text.split(';')
                .filter_map(|field| field.trim().split_once('='))
                .find(|(key, _)| *key == name)
        };
        let skip = field("skip").map_or("", |(_, names)| names);
        Self {
            skip: skip.split(',').map(str::trim).collect(),
            strict: field("error").is_some_and(|(_, value)| value.trim() == "true"),
        }
    }

    fn skips(&self, rule: &str) -> bool {
        self.skip
            .iter()
            .any(|name| *name == "all" || name.eq_ignore_ascii_case(rule))
    }
}

/// What is wrong with the file itself, so that there is nothing to check: the first error of the parser.
pub fn parse_error(view: &DockerfileView) -> Option<&Diagnostic> {
    view.diagnostics
        .iter()
        .find(|found| found.severity == Severity::Error)
}

#[cfg(test)]
mod tests;
