//! Comments that say "not this one", in the words of every tool that has such words.
//!
//! | comment | means |
//! | --- | --- |
//! | `# plimsoll ignore=a,b until=2027-01-01 -- reason` | the instruction or key below; at the end of a YAML line, that line |
//! | `# plimsoll global ignore=a,b -- reason` | the whole file |
//! | `# hadolint ignore=DL3008,SC2046 # reason` | the instruction below |
//! | `# hadolint global ignore=DL3008` | the whole file |
//! | `# hadolint shell=bash` | the shell of the images that follow |
//! | `# check=skip=A,B;error=true` | the whole file in its first comments, else the instruction below |
//! | `# trivy:ignore:DS-0002` | the instruction below |
//! | `# checkov:skip=CKV_DOCKER_2:reason` | the whole file |
//!
//! One that hides nothing is a finding of its own.

mod pragma;
mod yaml;

use std::ops::Range;

use plimsoll_diagnostics::{Diagnostic, Source, Span};
use plimsoll_dockerfile::Word;

use crate::rules;
use crate::view::DockerfileView;
use pragma::parse;
pub(crate) use pragma::{Dialect, Pragma, Reach};

/// A comment that hides findings, and where.
#[derive(Clone, Debug)]
pub(crate) struct Suppression {
    pub(crate) dialect: Dialect,
    /// The ids as they are written.
    pub(crate) ids: Vec<Word>,
    pub(crate) reason: Option<String>,
    /// The last day it holds, `2027-01-01`.
    pub(crate) until: Option<Word>,
    /// Findings that begin here are hidden; none is the whole file.
    pub(crate) place: Option<Range<usize>>,
    /// The comment.
    pub(crate) span: Span,
}

/// What a file's comments say to the checker.
#[derive(Clone, Debug, Default)]
pub(crate) struct Comments {
    pub(crate) suppressions: Vec<Suppression>,
    /// `# check=error=true`: what BuildKit would warn of is an error.
    pub(crate) strict: bool,
    /// `# hadolint shell=`
    pub(crate) shell: Option<String>,
}

impl Suppression {
    /// Tells which of the ids hides a finding.
    pub(crate) fn hides(&self, finding: &Diagnostic) -> Option<usize> {
        let start = finding.span().unwrap_or_default().start;
        if self.place.as_ref().is_some_and(|place| !place.contains(&start)) {
            return None;
        }
        self.ids.iter().position(|id| self.names(&id.value, finding))
    }

    fn names(&self, id: &str, finding: &Diagnostic) -> bool {
        if id.eq_ignore_ascii_case("all") && self.dialect.has_all() {
            return self.dialect == Dialect::Own || is_build_check(finding);
        }
        finding.code.eq_ignore_ascii_case(id)
            || finding.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(id))
    }

    /// Tells whether it still holds on a day, `2026-11-21`.
    pub(crate) fn holds_on(&self, today: Option<&str>) -> bool {
        match (&self.until, today) {
            (Some(until), Some(today)) => until.value.as_str() >= today,
            _ => true,
        }
    }

    /// Whether a rule of this id was looked for, so that hiding nothing means something.
    pub(crate) fn is_wanted(&self, id: &str, wanted: impl Fn(&'static crate::Rule) -> bool) -> bool {
        rules::named(id).iter().any(|rule| wanted(rule))
    }
}

/// Whether BuildKit has the check, too: its names are the only ones in mixed case without digits.
pub(crate) fn is_build_check(finding: &Diagnostic) -> bool {
    finding.aliases.iter().any(|alias| {
        alias.starts_with(|letter: char| letter.is_ascii_uppercase())
            && alias.bytes().all(|byte| byte.is_ascii_alphabetic())
            && alias.bytes().any(|byte| byte.is_ascii_lowercase())
    })
}

/// Reads the comments of a Dockerfile.
pub(crate) fn of_dockerfile(view: &DockerfileView) -> Comments {
    let text = &view.source.text;
    let mut comments = Comments::default();
    if !may_have_pragmas(text) {
        return comments;
    }
    let directive = view.dockerfile.directives.check.as_ref();
    let mut instructions = view.dockerfile.instructions.iter().peekable();
    for (start, line) in lines(text) {
        while instructions.next_if(|next| next.span.end <= start).is_some() {}
        let trimmed = line.trim_start();
        let here = instructions.peek().map(|next| next.span);
        let mut in_document = || {
            let next = instructions.peek();
            next.is_some_and(|next| bodies(&next.kind).iter().any(|body| body.contains(&start)))
        };
        if !trimmed.starts_with('#') || in_document() {
            continue;
        }
        let at = start + (line.len() - trimmed.len());
        let top = directive.is_some_and(|word| (start..start + line.len()).contains(&word.span.start));
        take(&mut comments, trimmed, at, top, here.map(Span::range));
    }
    comments
}

/// Reads the comments of a `.dockerignore`: all of them are about the whole file.
pub(crate) fn of_ignore_file(source: &Source) -> Comments {
    let mut comments = Comments::default();
    if may_have_pragmas(&source.text) {
        for (start, line) in lines(&source.text).filter(|(_, line)| line.starts_with('#')) {
            take(&mut comments, line, start, true, None);
        }
    }
    comments
}

/// Reads the comments of a YAML file.
pub(crate) fn of_yaml(source: &Source) -> Comments {
    let mut comments = Comments::default();
    if may_have_pragmas(&source.text) {
        for comment in yaml::comments(&source.text) {
            take(&mut comments, comment.text, comment.at, false, comment.place);
        }
    }
    comments
}

/// Adds what a comment says, if it says anything to us. `place` is what it stands before; without one it hides nothing.
fn take(comments: &mut Comments, text: &str, at: usize, top: bool, place: Option<Range<usize>>) {
    match parse(text, at) {
        None => {}
        Some(Pragma::Shell(shell)) => comments.shell = Some(shell),
        Some(Pragma::Ignore(ignore)) => {
            let whole = top || ignore.reach == Reach::File;
            comments.strict |= ignore.strict && top;
            if !ignore.ids.is_empty() {
                comments.suppressions.push(Suppression {
                    dialect: ignore.dialect,
                    ids: ignore.ids,
                    reason: ignore.reason,
                    until: ignore.until,
                    place: (!whole).then(|| place.unwrap_or(0..0)),
                    span: Span::new(at, at + text.trim_end().len()),
                });
            }
        }
    }
}

/// Few files have any: the rest is not looked at line by line.
fn may_have_pragmas(text: &str) -> bool {
    text.contains("ignore") || text.contains("skip=") || text.contains("check=") || text.contains("hadolint")
}

fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut start = 0;
    text.split_inclusive('\n').map(move |line| {
        let at = start;
        start += line.len();
        let shown = line.trim_end_matches(['\r', '\n']);
        let text = shown.trim_start_matches('\u{feff}');
        (at + (shown.len() - text.len()), text)
    })
}

/// The bodies of an instruction's here-documents: what looks like a comment there is none.
fn bodies(kind: &plimsoll_dockerfile::InstructionKind) -> Vec<Range<usize>> {
    use plimsoll_dockerfile::{CopySource, InstructionKind as Kind};
    match kind {
        Kind::Run(run) => run
            .heredocs
            .iter()
            .map(|heredoc| heredoc.body.span.range())
            .collect(),
        Kind::Copy(copy) | Kind::Add(copy) => {
            let sources = copy.sources.iter();
            let documents = sources.filter_map(|source| match source {
                CopySource::Heredoc(heredoc) => Some(heredoc.body.span.range()),
                CopySource::Path(_) => None,
            });
            documents.collect()
        }
        Kind::Onbuild(inner) => bodies(&inner.kind),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
