//! `plimsoll.toml`: what the system, the user and the environment say.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use camino::{Utf8Path, Utf8PathBuf};
use plimsoll_check::config::CheckSettings;
use plimsoll_check::policy::{Policies, PolicySettings};
use plimsoll_diagnostics::{Diagnostic, Source, Span};
use plimsoll_registry::RegistrySettings;
use serde::Deserialize;

use crate::command_error::CommandError;
use crate::context::xdg;
use crate::env;

const SYSTEM: &str = "/etc/plimsoll/plimsoll.toml";
const PROJECT: &str = "plimsoll.toml";

/// Settings of all files; later files win per registry.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// `[registry."docker.io"]` and so on.
    pub(crate) registry: BTreeMap<String, RegistrySettings>,
    /// `[run]`.
    pub(crate) run: RunSettings,
    check: CheckSettings,
    /// `[check]` of every file that has a say, with its text for messages; later ones win.
    #[serde(skip)]
    pub(crate) checks: Vec<(Source, CheckSettings)>,
    policy: BTreeMap<String, PolicySettings>,
    /// What `--gate NAME` may name: `production` and `[policy.NAME]` of every file.
    #[serde(skip)]
    pub(crate) policies: Policies,
    /// Whether the last of `checks` is the project's own.
    #[serde(skip)]
    has_project: bool,
}

/// How containers are run where no flag says otherwise.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RunSettings {
    /// As with `run --hardened`; None where a file says nothing.
    pub(crate) hardened: Option<bool>,
    /// As with `run --userns`, where neither that nor `--uidmap` or `--gidmap` is given.
    pub(crate) userns: Option<String>,
    /// Folders in which makers of devices describe them, instead of `/etc/cdi` and `/var/run/cdi`.
    #[serde(rename = "cdi-spec-dirs")]
    pub(crate) cdi_spec_dirs: Option<Vec<Utf8PathBuf>>,
}

/// A file of a project: what a cloned folder may say. Never where images come from.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProjectSettings {
    #[serde(default)]
    check: CheckSettings,
    #[serde(default)]
    policy: BTreeMap<String, PolicySettings>,
    registry: Option<toml::Spanned<toml::Table>>,
}

impl Settings {
    /// Reads the system's file, the user's, and `explicit` (`--settings`), which must exist.
    ///
    /// The project's own file is checked, because a mistake in it should not wait for the command that needs it.
    pub(crate) fn load(explicit: Option<&Utf8Path>) -> Result<Self, CommandError> {
        let user = xdg(env::XDG_CONFIG_HOME, ".config").join("plimsoll/plimsoll.toml");
        let mut settings = Self::default();
        for path in [Utf8Path::new(SYSTEM), &user] {
            if let Some(text) = read(path)? {
                settings.merge(Self::parse(path, &text)?)?;
            }
        }
        if let Some(path) = explicit {
            let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, error))?;
            settings.merge(Self::parse(path, &text)?)?;
        }
        let project = Utf8PathBuf::from(PROJECT);
        if explicit.is_none_or(|explicit| !is_same(explicit, &project))
            && let Some(text) = read(&project)?
        {
            let said = check_project(&project, &text)?;
            let source = Source::new(PROJECT, text);
            let tightened = settings.policies.tighten(&source, &said.policy);
            tightened.map_err(|error| CommandError::diagnostic(*error))?;
            settings.checks.push((source, said.check));
            settings.has_project = true;
        }
        Ok(settings)
    }

    /// `[check]` of the system and the user, without the project's own.
    pub(crate) fn trusted_checks(&self) -> &[(Source, CheckSettings)] {
        &self.checks[..self.checks.len() - usize::from(self.has_project)]
    }

    fn parse(path: &Utf8Path, text: &str) -> Result<Self, CommandError> {
        let mut settings: Self =
            toml::from_str(text).map_err(|error| wrong(path, text, error.message(), error.span(), None))?;
        let check = std::mem::take(&mut settings.check);
        settings.checks.push((Source::new(path.as_str(), text), check));
        Ok(settings)
    }

    fn merge(&mut self, other: Self) -> Result<(), CommandError> {
        self.registry.extend(other.registry);
        self.run.hardened = other.run.hardened.or(self.run.hardened);
        self.run.userns = other.run.userns.or(self.run.userns.take());
        let folders = other.run.cdi_spec_dirs;
        self.run.cdi_spec_dirs = folders.or(self.run.cdi_spec_dirs.take());
        for (source, _) in &other.checks {
            let taken = self.policies.take(source, &other.policy);
            taken.map_err(|error| CommandError::diagnostic(*error))?;
        }
        self.checks.extend(other.checks);
        Ok(())
    }
}

fn check_project(path: &Utf8Path, text: &str) -> Result<ProjectSettings, CommandError> {
    let project: ProjectSettings =
        toml::from_str(text).map_err(|error| wrong(path, text, error.message(), error.span(), None))?;
    match &project.registry {
        None => Ok(project),
        Some(registry) => Err(wrong(
            path,
            text,
            "`[registry]` is not allowed in a project's own file",
            Some(registry.span()),
            Some(
                "a cloned folder must not redirect registries: put it in /etc/plimsoll/plimsoll.toml, in ~/.config/plimsoll/plimsoll.toml or in the file that `--settings` names",
            ),
        )),
    }
}

fn read(path: &Utf8Path) -> Result<Option<String>, CommandError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(unreadable(path, error)),
    }
}

fn unreadable(path: &Utf8Path, error: io::Error) -> CommandError {
    CommandError::config(format!("cannot read settings in `{path}`"), error)
}

fn is_same(one: &Utf8Path, other: &Utf8Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

fn wrong(
    path: &Utf8Path,
    text: &str,
    message: &str,
    span: Option<Range<usize>>,
    help: Option<&str>,
) -> CommandError {
    let span = span.unwrap_or(0..0);
    let source = Source::new(path.as_str(), text);
    let diagnostic = Diagnostic::error(
        "settings",
        &source,
        Span::new(span.start, span.end),
        message.trim_end(),
    );
    CommandError::diagnostic(match help {
        Some(help) => diagnostic.with_help(help),
        None => diagnostic,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_files_win_per_registry() {
        let path = Utf8Path::new("x.toml");
        let mut settings = Settings::parse(
            path,
            "[registry.\"docker.io\"]\nmirrors = [\"a:1\"]\n[registry.\"b\"]\ninsecure = true",
        )
        .unwrap();
        let later = Settings::parse(path, "[registry.\"docker.io\"]\nmirrors = [\"c:2\"]").unwrap();
        settings.merge(later).unwrap();
        assert_eq!(settings.registry["docker.io"].mirrors, ["c:2"]);
        assert!(settings.registry["b"].insecure);
    }

    #[test]
    fn an_unknown_key_is_shown_in_its_place() {
        let error =
            Settings::parse(Utf8Path::new("x.toml"), "[registry.\"docker.io\"]\nmirors = []\n").unwrap_err();
        let text = error.to_text();
        assert!(text.contains("x.toml:2:1") && text.contains("mirors"), "{text}");
    }

    #[test]
    fn a_project_may_not_redirect_registries() {
        let error = check_project(
            Utf8Path::new("plimsoll.toml"),
            "\n[registry.\"docker.io\"]\nmirrors = []\n",
        )
        .unwrap_err();
        let text = error.to_text();
        assert!(
            text.contains("plimsoll.toml:2") && text.contains("must not redirect"),
            "{text}"
        );
    }
}
