//! Fixes made to texts: those that do not touch each other in one go, then everything is checked again, until nothing is
//! left that can be mended.
//!
//! What comes out must still parse: a fix after which a file has a line that cannot be understood, and had none before,
//! is not made.

mod write;

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8PathBuf;
use plimsoll_diagnostics::{Diagnostic, Fix, Safety};

use crate::config::Config;
use crate::engine::{Outcome, check};
use crate::facts::ImageFacts;
use crate::load::{Inputs, Loaded, load};
pub use write::{WriteError, write};

/// Fixes may make room for others; rounds end at this number in any case.
const ROUNDS: usize = 20;

/// What fixes came to.
#[derive(Debug)]
pub struct Fixed {
    /// The new texts of files that change, by absolute path; the old one is none where the file is made.
    pub files: BTreeMap<Utf8PathBuf, Change>,
    /// How many fixes were made.
    pub fixes: usize,
    /// What is left.
    pub outcome: Outcome,
    /// All that was looked at.
    pub loaded: Loaded,
}

/// A file before and after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its name as the user knows it.
    pub name: String,
    /// Its text; none where there is no such file.
    pub old: Option<String>,
    /// Its text with all fixes.
    pub new: String,
}

/// Loads, checks and mends until nothing changes. Nothing is written. `known` are images that rules may ask for.
pub fn mend(inputs: &Inputs, config: &Config, least: Safety, images: impl Fn(&Loaded) -> Images) -> Fixed {
    let mut mending = Mending {
        inputs: inputs.clone(),
        config,
        least,
        images: &images,
        files: BTreeMap::new(),
        refused: BTreeSet::new(),
    };
    let mut fixes = 0;
    let (mut loaded, mut outcome) = mending.look();
    for _ in 0..ROUNDS {
        let made = mending.round(&loaded, &outcome);
        if made == 0 {
            break;
        }
        fixes += made;
        (loaded, outcome) = mending.look();
    }
    let mut files = mending.files;
    files.retain(|_, change| change.old.as_ref() != Some(&change.new));
    Fixed {
        files,
        fixes,
        outcome,
        loaded,
    }
}

/// Images for a workspace.
#[derive(Debug, Default)]
pub struct Images {
    /// Those to be checked.
    pub asked: Vec<ImageFacts>,
    /// Those that are only known.
    pub known: Vec<ImageFacts>,
    /// Digests of names, where a registry was asked.
    pub pins: BTreeMap<String, String>,
}

struct Mending<'a, F> {
    inputs: Inputs,
    config: &'a Config,
    least: Safety,
    images: &'a F,
    files: BTreeMap<Utf8PathBuf, Change>,
    /// Fixes that broke a file, as rule, message and place; they are not tried again.
    refused: BTreeSet<Name>,
}

type Name = (&'static str, String, usize);

impl<F: Fn(&Loaded) -> Images> Mending<'_, F> {
    fn look(&self) -> (Loaded, Outcome) {
        let mut loaded = load(&self.inputs);
        let images = (self.images)(&loaded);
        loaded.workspace.images = images.asked;
        loaded.workspace.known = images.known;
        loaded.workspace.pins = images.pins;
        let outcome = check(&loaded.workspace, self.config);
        (loaded, outcome)
    }

    /// Makes every fix that touches no other; tells how many.
    fn round(&mut self, loaded: &Loaded, outcome: &Outcome) -> usize {
        let before = broken(loaded);
        let chosen = self.choose(&outcome.findings);
        if chosen.is_empty() {
            return 0;
        }
        let kept = (self.inputs.texts.clone(), self.files.clone());
        let made: Vec<Name> = chosen
            .iter()
            .filter(|(_, fix)| self.apply(fix))
            .map(|(name, _)| name.clone())
            .collect();
        if broken(&load(&self.inputs)).is_subset(&before) {
            return made.len();
        }
        // One of them breaks a file. Each on its own shows which.
        (self.inputs.texts, self.files) = kept;
        for (name, fix) in &chosen {
            let kept = (self.inputs.texts.clone(), self.files.clone());
            let applied = self.apply(fix);
            if applied && broken(&load(&self.inputs)).is_subset(&before) {
                return 1;
            }
            (self.inputs.texts, self.files) = kept;
            self.refused.insert(name.clone());
        }
        0
    }

    /// The fixes of a round: the first of those that overlap wins.
    fn choose(&self, findings: &[Diagnostic]) -> Vec<(Name, Fix)> {
        let mut taken: BTreeMap<String, Vec<(usize, usize)>> = BTreeMap::new();
        let mut chosen = Vec::new();
        for finding in findings {
            let name = (
                finding.code,
                finding.message.clone(),
                finding.span().unwrap_or_default().start,
            );
            let Some(fix) = finding.fix.as_ref().filter(|fix| fix.safety >= self.least) else {
                continue;
            };
            let free = fix.edits.iter().all(|edit| {
                let spans = taken.get(&*edit.source.name).map_or(&[][..], Vec::as_slice);
                spans
                    .iter()
                    .all(|span| !touches(*span, (edit.span.start, edit.span.end)))
            });
            if fix.edits.is_empty() || !free || self.refused.contains(&name) {
                continue;
            }
            for edit in &fix.edits {
                let spans = taken.entry(edit.source.name.to_string()).or_default();
                spans.push((edit.span.start, edit.span.end));
            }
            chosen.push((name, fix.clone()));
        }
        // From the end of a file to its beginning, so that places stay right.
        chosen.sort_by_key(|(_, fix)| std::cmp::Reverse(fix.edits.iter().map(|edit| edit.span.start).max()));
        chosen
    }
}

/// Whether two places cannot both be changed. Two insertions at one place could come in either order.
fn touches(one: (usize, usize), other: (usize, usize)) -> bool {
    one.0 < other.1 && other.0 < one.1 || one.0 == other.0
}

/// The files that cannot be understood as a whole, and how often.
fn broken(loaded: &Loaded) -> BTreeSet<(String, usize)> {
    use plimsoll_diagnostics::Severity;
    let is_error = |diagnostic: &&Diagnostic| diagnostic.severity == Severity::Error;
    let dockerfiles = loaded.workspace.dockerfiles.iter();
    let mut broken = BTreeSet::new();
    let mut add = |name: String, errors: usize| {
        // Fewer errors than before are no harm.
        broken.extend((1..=errors).map(|count| (name.clone(), count)));
    };
    for view in dockerfiles {
        add(
            view.path.to_string(),
            view.diagnostics.iter().filter(is_error).count(),
        );
    }
    for view in &loaded.workspace.projects {
        let count = view.diagnostics.iter().filter(is_error).count();
        add(view.path.to_string(), count);
    }
    for ignore in loaded
        .workspace
        .contexts
        .iter()
        .filter_map(|view| view.ignore.as_ref())
    {
        add(ignore.source.name.to_string(), usize::from(ignore.file.is_err()));
    }
    broken
}

impl<F> Mending<'_, F> {
    /// Makes all edits of a fix; not one of them when the text is not the one that was checked.
    fn apply(&mut self, fix: &Fix) -> bool {
        let mut texts: BTreeMap<Utf8PathBuf, (String, Change)> = BTreeMap::new();
        let mut edits: Vec<_> = fix.edits.iter().collect();
        edits.sort_by_key(|edit| std::cmp::Reverse((edit.span.start, edit.span.end)));
        for edit in edits {
            let path = self.inputs.current.join(&*edit.source.name);
            if !texts.contains_key(&path) {
                let Some(change) = self.change(&path, &edit.source.name) else {
                    return false;
                };
                texts.insert(path.clone(), (change.new.clone(), change));
            }
            let (text, _) = texts.get_mut(&path).expect("just put there");
            let span = edit.source.clamp(edit.span);
            let untouched = text.get(..span.end) == edit.source.text.get(..span.end);
            if !untouched {
                return false;
            }
            text.replace_range(span.range(), &with_endings_of(&edit.source.text, &edit.text));
        }
        for (path, (text, mut change)) in texts {
            change.new.clone_from(&text);
            self.inputs.texts.insert(path.clone(), text);
            self.files.insert(path, change);
        }
        true
    }

    /// The file as it is by now; none where it cannot be read.
    fn change(&self, path: &Utf8PathBuf, name: &str) -> Option<Change> {
        if let Some(change) = self.files.get(path) {
            return Some(change.clone());
        }
        let name = name.to_owned();
        let given = self.inputs.texts.get(path).cloned();
        let old = match given.map_or_else(|| std::fs::read_to_string(path), Ok) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(_) => return None,
        };
        Some(Change {
            name,
            new: old.clone().unwrap_or_default(),
            old,
        })
    }
}

/// A file whose lines end with CR LF gets no others.
fn with_endings_of(file: &str, text: &str) -> String {
    match file.contains("\r\n") {
        true => text.replace("\r\n", "\n").replace('\n', "\r\n"),
        false => text.to_owned(),
    }
}

impl Change {
    /// The change as a unified diff; secrets are shown as stars.
    pub fn diff(&self, secrets: &[String]) -> String {
        let old = self.old.as_deref().unwrap_or_default();
        let names = match self.old {
            Some(_) => (format!("a/{}", self.name), format!("b/{}", self.name)),
            None => ("/dev/null".to_owned(), format!("b/{}", self.name)),
        };
        let diff = similar::TextDiff::from_lines(old, self.new.as_str());
        let text = diff.unified_diff().header(&names.0, &names.1).to_string();
        secrets
            .iter()
            .fold(text, |text, secret| text.replace(secret.as_str(), "********"))
    }
}

#[cfg(test)]
mod tests;
