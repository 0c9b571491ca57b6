//! What a stage has come to so far.

use std::collections::BTreeMap;

use plimsoll_dockerfile::{Command, HealthcheckInstruction, Instruction, Word};
use plimsoll_image::Image;
use plimsoll_oci::{ContainerConfig, Healthcheck, History, ImageConfig, Platform};
use plimsoll_solver::VertexId;
use serde_json::{Value, json};

use super::shown;

/// BuildKit's, so that tools that look for it keep working.
const HISTORY_COMMENT: &str = "buildkit.dockerfile.v0";
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A line of the image's history; its time is known when the build is done.
#[derive(Clone, Debug)]
pub(crate) struct HistoryRow {
    pub(crate) history: History,
    /// Made by this build.
    pub(crate) ours: bool,
}

/// What a stage has come to so far.
#[derive(Clone, Debug)]
pub(crate) struct StageState {
    pub(crate) platform: Platform,
    /// What its programs are for.
    pub(crate) runs_on: Platform,
    pub(crate) config: ContainerConfig,
    pub(crate) author: Option<String>,
    /// Declared `ARG`s in order, with their values.
    pub(crate) args: Vec<(String, Option<String>)>,
    pub(crate) history: Vec<HistoryRow>,
    /// Top of the stage's files; none from scratch before the first layer.
    pub(crate) vertex: Option<VertexId>,
    /// Whether CMD was set in this stage: ENTRYPOINT clears only an inherited one.
    cmd_is_own: bool,
}

impl StageState {
    pub(crate) fn scratch(platform: &Platform) -> Self {
        Self::new(platform.clone(), platform, ContainerConfig::default(), None)
    }

    pub(crate) fn from_image(image: &Image, runs_on: &Platform, vertex: VertexId) -> Self {
        let config = image.config.config.clone();
        let mut state = Self::new(image.config.platform(), runs_on, config, Some(vertex));
        state.author.clone_from(&image.config.author);
        let rows = image.config.history.iter().cloned();
        state.history = rows.map(|history| HistoryRow { history, ours: false }).collect();
        state
    }

    /// The state of an image of which only the configuration matters.
    pub(crate) fn of(image: &ImageConfig) -> Self {
        let platform = image.platform();
        Self {
            config: image.config.clone(),
            ..Self::scratch(&platform)
        }
    }

    fn new(
        platform: Platform,
        runs_on: &Platform,
        config: ContainerConfig,
        vertex: Option<VertexId>,
    ) -> Self {
        let mut state = Self {
            platform,
            runs_on: runs_on.clone(),
            config,
            author: None,
            args: Vec::new(),
            history: Vec::new(),
            vertex,
            cmd_is_own: false,
        };
        if state.env("PATH").is_none() {
            state.config.env.push(format!("PATH={DEFAULT_PATH}"));
        }
        state
    }

    /// The state of a stage that stands on this one.
    pub(crate) fn child(&self) -> Self {
        Self {
            cmd_is_own: false,
            ..self.clone()
        }
    }

    /// An ENV variable.
    pub(crate) fn env(&self, name: &str) -> Option<&str> {
        self.config
            .env
            .iter()
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }

    /// What `$name` means here: ENV wins over ARG.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        let arg = || {
            self.args
                .iter()
                .find(|(arg, _)| arg == name)
                .and_then(|(_, value)| value.clone())
        };
        self.env(name).map(str::to_owned).or_else(arg)
    }

    /// The platform of the result, where the stage says that it wants to know.
    pub(crate) fn declared_target(&self) -> Option<Platform> {
        let declared = |name: &str| self.args.iter().any(|(arg, _)| arg == name);
        let value = |name: &str| self.variable(name).filter(|value| !value.is_empty());
        let known = || declared("TARGETOS") || declared("TARGETARCH") || declared("TARGETVARIANT");
        if let Some(platform) = value("TARGETPLATFORM") {
            return platform.parse().ok();
        }
        known().then(|| {
            let os = value("TARGETOS").unwrap_or_else(|| self.runs_on.os.clone());
            let architecture = value("TARGETARCH").unwrap_or_else(|| self.runs_on.architecture.clone());
            Platform::normalised(&os, &architecture, value("TARGETVARIANT").as_deref())
        })
    }

    /// Every name that means something here.
    pub(crate) fn variable_names(&self) -> impl Iterator<Item = &str> {
        let env = self
            .config
            .env
            .iter()
            .filter_map(|pair| Some(pair.split_once('=')?.0));
        env.chain(self.args.iter().map(|(name, _)| name.as_str()))
    }

    /// Sets an ENV variable in its place.
    pub(crate) fn set_env(&mut self, name: &str, value: &str) {
        let pair = format!("{name}={value}");
        let same = |old: &&mut String| old.split_once('=').map_or(old.as_str(), |(old, _)| old) == name;
        match self.config.env.iter_mut().find(same) {
            Some(old) => *old = pair,
            None => self.config.env.push(pair),
        }
    }

    pub(crate) fn set_arg(&mut self, name: &str, value: Option<String>) {
        self.args.retain(|(arg, _)| arg != name);
        self.args.push((name.to_owned(), value));
    }

    /// ARGs that have a value and are not hidden by an ENV: what a RUN sees besides ENV.
    pub(crate) fn used_args(&self) -> impl Iterator<Item = (&str, &str)> {
        let visible = self.args.iter().filter(|(name, _)| self.env(name).is_none());
        visible.filter_map(|(name, value)| Some((name.as_str(), value.as_deref()?)))
    }

    pub(crate) fn workdir(&self) -> &str {
        match self.config.working_dir.as_str() {
            "" => "/",
            directory => directory,
        }
    }

    /// What shell forms are given to.
    pub(crate) fn shell(&self) -> Vec<String> {
        let default = || vec!["/bin/sh".to_owned(), "-c".to_owned()];
        self.config
            .shell
            .clone()
            .filter(|shell| !shell.is_empty())
            .unwrap_or_else(default)
    }

    /// The command line of either form.
    pub(crate) fn command_line(&self, command: &Command) -> Vec<String> {
        match command {
            Command::Exec(words) => words.iter().map(|word| word.value.clone()).collect(),
            Command::Shell(text) => self.shell().into_iter().chain([text.value.clone()]).collect(),
        }
    }

    /// Adds a row of history for an instruction that made a layer.
    pub(crate) fn layer_row(&mut self, created_by: impl Into<String>) {
        self.row(created_by.into(), false);
    }

    /// Adds a row of history for an instruction that only edited the configuration.
    pub(crate) fn metadata_row(&mut self, created_by: impl Into<String>) {
        self.row(created_by.into(), true);
    }

    fn row(&mut self, created_by: String, empty_layer: bool) {
        let history = History {
            created_by: Some(created_by),
            comment: Some(HISTORY_COMMENT.to_owned()),
            author: self.author.clone(),
            empty_layer,
            created: None,
        };
        self.history.push(HistoryRow { history, ours: true });
    }

    pub(crate) fn set_cmd(&mut self, command: &Command) {
        let line = self.command_line(command);
        self.metadata_row(format!("CMD {}", shown::quoted(&line)));
        self.config.cmd = (!line.is_empty()).then_some(line);
        self.cmd_is_own = true;
    }

    pub(crate) fn set_entrypoint(&mut self, command: &Command) {
        let line = self.command_line(command);
        self.metadata_row(format!("ENTRYPOINT {}", shown::quoted(&line)));
        self.config.entrypoint = (!line.is_empty()).then_some(line);
        if !self.cmd_is_own {
            self.config.cmd = None;
        }
    }

    pub(crate) fn set_healthcheck(&mut self, check: &HealthcheckInstruction) {
        let healthcheck = match check {
            HealthcheckInstruction::None => Healthcheck {
                test: vec!["NONE".to_owned()],
                ..Healthcheck::default()
            },
            HealthcheckInstruction::Command {
                command,
                interval,
                timeout,
                start_period,
                start_interval,
                retries,
            } => {
                let test = match command {
                    Command::Exec(words) => ["CMD"]
                        .into_iter()
                        .chain(words.iter().map(|word| word.value.as_str()))
                        .map(str::to_owned)
                        .collect(),
                    Command::Shell(text) => vec!["CMD-SHELL".to_owned(), text.value.clone()],
                };
                Healthcheck {
                    test,
                    interval: interval.unwrap_or(0),
                    timeout: timeout.unwrap_or(0),
                    start_period: start_period.unwrap_or(0),
                    start_interval: start_interval.unwrap_or(0),
                    retries: retries.unwrap_or(0),
                }
            }
        };
        self.metadata_row(format!("HEALTHCHECK {}", shown::healthcheck(&healthcheck)));
        self.config.healthcheck = Some(healthcheck);
    }

    pub(crate) fn set_shell(&mut self, words: &[Word]) {
        let shell: Vec<String> = words.iter().map(|word| word.value.clone()).collect();
        self.metadata_row(format!("SHELL {}", shown::plain(&shell)));
        self.config.shell = Some(shell);
    }

    /// Leaves no row of history, as in BuildKit.
    pub(crate) fn add_trigger(&mut self, trigger: &Instruction) {
        self.config
            .on_build
            .get_or_insert_default()
            .push(trigger.verbatim.clone());
    }

    pub(crate) fn set_author(&mut self, author: &str) {
        self.author = Some(author.to_owned());
        self.metadata_row(format!("MAINTAINER {author}"));
    }
}

/// Adds a key with an empty object, as `ExposedPorts` and `Volumes` hold them.
pub(crate) fn insert_key(map: &mut Option<BTreeMap<String, Value>>, key: String) {
    map.get_or_insert_default().insert(key, json!({}));
}
