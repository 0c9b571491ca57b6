//! `[check]` of the settings.

use std::collections::BTreeMap;
use std::str::FromStr;

use plimsoll_diagnostics::{Diagnostic, Severity, Source, Span};
use plimsoll_dockerfile::IgnoreFile;
use serde::Deserialize;
use serde_json::Value;
use toml::Spanned;

use super::{Config, Level, PathLevels, UnknownRule};
use crate::rules;

/// `[check]`: what is said, and where.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct CheckSettings {
    fail_on: Option<Spanned<String>>,
    ignore: Vec<Spanned<String>>,
    error: Vec<Spanned<String>>,
    warning: Vec<Spanned<String>>,
    info: Vec<Spanned<String>>,
    style: Vec<Spanned<String>>,
    trusted_registries: Vec<String>,
    label_schema: BTreeMap<String, Spanned<String>>,
    strict_labels: Option<bool>,
    options: BTreeMap<Spanned<String>, BTreeMap<Spanned<String>, Value>>,
    paths: Vec<PathSettings>,
}

/// `[[check.paths]]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PathSettings {
    files: Vec<Spanned<String>>,
    ignore: Vec<Spanned<String>>,
    error: Vec<Spanned<String>>,
    warning: Vec<Spanned<String>>,
    info: Vec<Spanned<String>>,
    style: Vec<Spanned<String>>,
}

type Ids = Vec<Spanned<String>>;

/// The ids of five lists with what becomes of their findings.
fn levels(lists: [&Ids; 5]) -> impl Iterator<Item = (&Spanned<String>, Level)> {
    const LEVELS: [Level; 5] = [
        Level::Off,
        Level::At(Severity::Error),
        Level::At(Severity::Warning),
        Level::At(Severity::Info),
        Level::At(Severity::Style),
    ];
    let lists = lists.into_iter().zip(LEVELS);
    lists.flat_map(|(ids, level)| ids.iter().map(move |id| (id, level)))
}

impl Config {
    /// Takes over what the `[check]` of a file says; `source` is the file.
    pub fn add(&mut self, settings: &CheckSettings, source: &Source) -> Result<(), Box<Diagnostic>> {
        let own = settings;
        for (id, level) in levels([&own.ignore, &own.error, &own.warning, &own.info, &own.style]) {
            self.set(id.get_ref(), level)
                .map_err(|error| unknown(source, id, &error))?;
        }
        if let Some(fail_on) = &settings.fail_on {
            self.fail_on = Some(word(source, fail_on)?);
        }
        self.trusted_registries
            .extend(settings.trusted_registries.iter().cloned());
        for (label, form) in &settings.label_schema {
            self.label_schema.insert(label.clone(), word(source, form)?);
        }
        self.strict_labels = settings.strict_labels.unwrap_or(self.strict_labels);
        for (id, options) in &settings.options {
            self.add_options(id, options, source)?;
        }
        for paths in &settings.paths {
            self.paths.push(path_levels(paths, source)?);
        }
        Ok(())
    }

    fn add_options(
        &mut self,
        id: &Spanned<String>,
        options: &BTreeMap<Spanned<String>, Value>,
        source: &Source,
    ) -> Result<(), Box<Diagnostic>> {
        let found = rules::named(id.get_ref());
        if found.is_empty() {
            return Err(unknown(source, id, &UnknownRule::new(id.get_ref())));
        }
        for (name, value) in options {
            let takes = |rule: &&&crate::Rule| rule.options.iter().any(|one| one.name == name.get_ref());
            let Some(rule) = found.iter().find(takes) else {
                let message = format!("rule `{}` has no option `{}`", id.get_ref(), name.get_ref());
                return Err(wrong(source, name, message));
            };
            let own = self.options.entry(rule.id.to_owned()).or_default();
            own.insert(name.get_ref().clone(), value.clone());
        }
        Ok(())
    }
}

fn path_levels(settings: &PathSettings, source: &Source) -> Result<PathLevels, Box<Diagnostic>> {
    let mut patterns = String::new();
    for pattern in &settings.files {
        let alone = Source::new("files", pattern.get_ref().as_str());
        IgnoreFile::parse(&alone).map_err(|error| wrong(source, pattern, error.message.clone()))?;
        patterns.push_str(pattern.get_ref());
        patterns.push('\n');
    }
    let mut fitting = PathLevels {
        files: IgnoreFile::parse(&Source::new("files", patterns))?,
        levels: BTreeMap::new(),
    };
    let own = settings;
    for (id, level) in levels([&own.ignore, &own.error, &own.warning, &own.info, &own.style]) {
        fitting
            .set(id.get_ref(), level)
            .map_err(|error| unknown(source, id, &error))?;
    }
    Ok(fitting)
}

/// Reads a word that has to be one of a few.
fn word<T: FromStr>(source: &Source, text: &Spanned<String>) -> Result<T, Box<Diagnostic>>
where
    T::Err: ToString,
{
    text.get_ref()
        .parse()
        .map_err(|error: T::Err| wrong(source, text, error.to_string()))
}

fn unknown(source: &Source, id: &Spanned<String>, error: &UnknownRule) -> Box<Diagnostic> {
    let diagnostic = wrong(source, id, error.to_string());
    match error.near {
        Some(near) => Box::new(diagnostic.with_help(format!("did you mean `{near}`?"))),
        None => diagnostic,
    }
}

fn wrong<T>(source: &Source, place: &Spanned<T>, message: String) -> Box<Diagnostic> {
    let span = Span::from(place.span());
    Box::new(Diagnostic::error("settings", source, span, message))
}
