//! What `check` is told: settings files and flags.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use plimsoll_check::Config;
use plimsoll_check::config::{CheckSettings, LabelForm, Level, UnknownRule};
use plimsoll_check::view::BuildSettings;
use plimsoll_diagnostics::{Diagnostic, Severity, Source, Span};
use serde::Deserialize;

use crate::command_error::CommandError;
use crate::context::Context;

/// The names under which hadolint looks for its settings.
const HADOLINT: [&str; 2] = [".hadolint.yaml", ".hadolint.yml"];

/// Lists of ids that other tools leave out, one per line.
const IGNORE_LISTS: [&str; 2] = [".dockleignore", ".trivyignore"];

/// Flags about rules; hadolint has most of them under the same names.
#[derive(clap::Args, Debug)]
pub(crate) struct RuleArgs {
    /// Leave rules out, by our names or those of other tools
    #[arg(long, value_name = "RULE", value_delimiter = ',')]
    ignore: Vec<String>,
    /// Take findings of these rules for errors
    #[arg(long, value_name = "RULE", value_delimiter = ',')]
    error: Vec<String>,
    /// Take findings of these rules for warnings
    #[arg(long, value_name = "RULE", value_delimiter = ',')]
    warning: Vec<String>,
    /// Take findings of these rules for information
    #[arg(long, value_name = "RULE", value_delimiter = ',')]
    info: Vec<String>,
    /// Take findings of these rules for matters of style
    #[arg(long, value_name = "RULE", value_delimiter = ',')]
    style: Vec<String>,
    /// Allow base images from these registries only (`docker.io`, `*.example.com`)
    #[arg(long, value_name = "REGISTRY", value_delimiter = ',')]
    trusted_registry: Vec<String>,
    /// Ask for a label and its form: text, url, rfc3339, spdx, hash, semver, email
    #[arg(long, value_name = "LABEL:FORM", value_delimiter = ',')]
    require_label: Vec<String>,
    /// Allow no other labels
    #[arg(long)]
    strict_labels: bool,
    /// Report what comments hide, too
    #[arg(long, alias = "disable-ignore-pragma")]
    no_suppressions: bool,
}

/// Flags about how a Dockerfile is built; compose files say the same for theirs.
#[derive(clap::Args, Debug)]
pub(crate) struct BuildArgs {
    /// The stage that is built [default: the last]
    #[arg(long, value_name = "STAGE")]
    target: Vec<String>,
    /// Give a build argument its value
    #[arg(long, value_name = "KEY=VALUE")]
    build_arg: Vec<String>,
    /// The platform that is built for
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
}

impl RuleArgs {
    pub(super) fn apply(&self, config: &mut Config) -> Result<(), CommandError> {
        let lists = [
            (&self.ignore, Level::Off),
            (&self.error, Level::At(Severity::Error)),
            (&self.warning, Level::At(Severity::Warning)),
            (&self.info, Level::At(Severity::Info)),
            (&self.style, Level::At(Severity::Style)),
        ];
        for (ids, level) in lists {
            for id in ids {
                config.set(id, level).map_err(unknown_rule)?;
            }
        }
        config
            .trusted_registries
            .extend(self.trusted_registry.iter().cloned());
        for label in &self.require_label {
            let (name, form) = label.split_once([':', '=']).unwrap_or((label, "text"));
            let form: LabelForm = form.parse().map_err(|error| {
                CommandError::usage(format!("invalid `--require-label {label}`: {error}"))
            })?;
            config.label_schema.insert(name.to_owned(), form);
        }
        config.strict_labels |= self.strict_labels;
        config.no_suppressions |= self.no_suppressions;
        Ok(())
    }
}

impl BuildArgs {
    pub(super) fn settings(&self) -> Result<BuildSettings, CommandError> {
        let pairs = self.build_arg.iter().map(|given| match given.split_once('=') {
            Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
            None => Err(CommandError::usage(format!("`--build-arg {given}` has no `=`"))),
        });
        Ok(BuildSettings {
            targets: self.target.clone(),
            args: pairs.collect::<Result<BTreeMap<_, _>, _>>()?,
            platform: self.platform.clone(),
        })
    }
}

/// What the settings say: hadolint's file in this folder, ours, then the file that `--config` names.
pub(crate) fn config(context: &Context, extra: Option<&Utf8Path>) -> Result<Config, CommandError> {
    let mut config = Config {
        today: Some(jiff::Zoned::now().date().to_string()),
        ..Config::default()
    };
    if let Some(path) = HADOLINT.iter().map(Utf8PathBuf::from).find(|path| path.is_file()) {
        add_file(&mut config, &path)?;
    }
    for list in IGNORE_LISTS {
        let Ok(text) = std::fs::read_to_string(list) else {
            continue;
        };
        let lines = text.lines().filter_map(|line| line.split('#').next());
        for id in lines.map(str::trim).filter(|id| !id.is_empty()) {
            // Most of them are of things that we do not look for.
            let _ = config.set(id, Level::Off);
        }
    }
    for (source, settings) in &context.settings()?.checks {
        config
            .add(settings, source)
            .map_err(|error| CommandError::diagnostic(*error))?;
    }
    if let Some(path) = extra {
        add_file(&mut config, path)?;
    }
    Ok(config)
}

/// A `plimsoll.toml`, or anything else: then it is hadolint's.
fn add_file(config: &mut Config, path: &Utf8Path) -> Result<(), CommandError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| CommandError::config(format!("cannot read settings in `{path}`"), error))?;
    let source = Source::new(path.as_str(), text);
    let added = match path.extension() {
        Some("toml") => read_toml(&source).and_then(|file| config.add(&file.check, &source)),
        _ => config.add_hadolint(&source),
    };
    added.map_err(|error| CommandError::diagnostic(*error))
}

/// The part of a settings file that is ours; what else stands in it is another command's.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    check: CheckSettings,
}

fn read_toml(source: &Source) -> Result<File, Box<Diagnostic>> {
    toml::from_str(&source.text).map_err(|error| {
        let span = error.span().unwrap_or_default();
        Box::new(Diagnostic::error(
            "settings",
            source,
            Span::from(span),
            error.message(),
        ))
    })
}

fn unknown_rule(error: UnknownRule) -> CommandError {
    let usage = CommandError::usage(error.to_string());
    match error.near {
        Some(near) => usage.hint(format!("did you mean `{near}`?")),
        None => usage.hint("`plimsoll check --list-rules` lists them"),
    }
}
