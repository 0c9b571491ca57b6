//! What the compose commands share: the flags before the command, and the project that they name.

pub(crate) mod attached;
pub(crate) mod audience;
pub(crate) mod building;
pub(crate) mod converging;
pub(crate) mod elsewhere;
pub(crate) mod members;
pub(crate) mod printer;
pub(crate) mod remote;
pub(crate) mod rules;
pub(crate) mod watcher;

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Read as _};

use camino::{Utf8Path, Utf8PathBuf};
use plimsoll_compose_file::model::Model;
use plimsoll_compose_file::{LoadOptions, Project, dotenv, find_files, load_with, passed_over};
use plimsoll_diagnostics::Source;

use super::container_options::current_directory;
use crate::command_error::CommandError;
use crate::context::Context;
use crate::env;
use crate::progress::{DRY_RUN, Display, Mode, Outlet};

/// The version of Docker Compose whose behaviour this is.
pub(crate) use plimsoll_compose::labels::COMPOSE_VERSION as VERSION;

/// Flags between `compose` and the command.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct ComposeArgs {
    /// Compose file; may be given several times, each is merged over those before it [default: compose.yaml and its
    /// override, here or in a folder above]
    #[arg(short, long = "file", value_name = "FILE")]
    files: Vec<Utf8PathBuf>,
    /// Name of the project [default: the folder's]
    #[arg(short, long, value_name = "NAME")]
    project_name: Option<String>,
    /// Activate a profile; `*` is all of them
    #[arg(long = "profile", value_name = "PROFILE")]
    profiles: Vec<String>,
    /// File of variables for `${}` [default: .env beside the first file]
    #[arg(long = "env-file", value_name = "FILE")]
    env_files: Vec<Utf8PathBuf>,
    /// Folder in which relative paths start [default: that of the first file]
    #[arg(long, value_name = "FOLDER", alias = "workdir")]
    project_directory: Option<Utf8PathBuf>,
    /// How many things to work at at once; -1 for no limit
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, env = env::COMPOSE_PARALLEL_LIMIT, hide_env_values = true)]
    parallel: Option<i32>,
    /// Say what would be done instead of doing it
    #[arg(long, global = true)]
    pub(crate) dry_run: bool,
    /// When to colour, and to draw progress in place
    #[arg(long, value_name = "WHEN", value_enum, env = env::COMPOSE_ANSI, hide_env_values = true)]
    ansi: Option<Ansi>,
    /// Form of progress
    #[arg(long, value_name = "FORM", value_enum, env = env::COMPOSE_PROGRESS, hide_env_values = true)]
    progress: Option<Mode>,
    /// Keep volumes and networks that no service uses
    #[arg(long)]
    all_resources: bool,
    /// Name containers as Compose 1 did: `PROJECT_SERVICE_1`
    #[arg(long)]
    compatibility: bool,
    /// Accepted for Docker's sake
    #[arg(long, hide = true)]
    verbose: bool,
    /// As `--ansi never`
    #[arg(long, hide = true)]
    no_ansi: bool,
    /// Print the version
    #[arg(short = 'v', long)]
    pub(crate) version: bool,
}

/// `--ansi`
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Ansi {
    /// On a terminal
    #[default]
    Auto,
    /// Also in pipes
    Always,
    /// Not at all
    Never,
}

impl ComposeArgs {
    /// Adds the flags that may stand behind the command, too.
    pub(crate) fn after_command(mut self, matches: &clap::ArgMatches) -> Self {
        self.dry_run |= matches!(matches.try_get_one::<bool>("dry_run"), Ok(Some(true)));
        self
    }

    fn ansi(&self) -> Ansi {
        match self.no_ansi {
            true => Ansi::Never,
            false => self.ansi.unwrap_or_default(),
        }
    }

    /// How many things are worked at at once; None without a limit.
    pub(crate) fn parallel(&self) -> Option<usize> {
        self.parallel
            .and_then(|limit| usize::try_from(limit).ok())
            .filter(|limit| *limit > 0)
    }

    /// The files of `--env-file`, in full.
    pub(crate) fn environment_files(&self) -> Result<Vec<Utf8PathBuf>, CommandError> {
        let current = current_directory()?;
        Ok(self.env_files.iter().map(|file| current.join(file)).collect())
    }

    /// Whether containers are named as by Compose 1.
    pub(crate) fn is_compatible(&self) -> bool {
        self.compatibility || env::says_yes(env::COMPOSE_COMPATIBILITY)
    }

    /// The name that was given, by flag or environment.
    fn given_name(&self) -> Option<String> {
        let flag = self.project_name.clone().filter(|name| !name.is_empty());
        flag.or_else(|| env::var(env::COMPOSE_PROJECT_NAME))
    }
}

/// A project that a command is about: its name, and what its files say where they have to be read.
pub(crate) struct Scope {
    pub(crate) name: String,
    pub(crate) project: Option<Project>,
}

impl Scope {
    /// For commands that need its containers only: with a name nothing is read.
    pub(crate) fn by_name(context: &Context) -> Result<Self, CommandError> {
        match context.compose().given_name() {
            Some(name) => Ok(Self { name, project: None }),
            None => Ok(Self::of(project(context, lenient)?)),
        }
    }

    /// For commands that look at services, too: the files are read unless only `-p` was given, and have to have
    /// `services`.
    pub(crate) fn with_services(context: &Context, services: &[String]) -> Result<Self, CommandError> {
        let args = context.compose();
        if let Some(name) = args.project_name.clone().filter(|_| args.files.is_empty()) {
            return Ok(Self { name, project: None });
        }
        let loaded = project(context, |options| {
            lenient(options);
            options.named = services.to_vec();
        });
        let scope = match loaded {
            Ok(project) => Self::of(project),
            Err(error) => match env::var(env::COMPOSE_PROJECT_NAME) {
                Some(name) => Self { name, project: None },
                None => return Err(error),
            },
        };
        services.iter().try_for_each(|service| scope.check(service))?;
        Ok(scope)
    }

    fn of(project: Project) -> Self {
        Self {
            name: project.name.clone(),
            project: Some(project),
        }
    }

    /// The names of its services, if its files were read.
    pub(crate) fn services(&self) -> Option<Vec<&str>> {
        let services = self.project.as_ref()?.section("services").into_iter();
        Some(services.map(|entry| entry.key.as_str()).collect())
    }

    fn check(&self, service: &str) -> Result<(), CommandError> {
        match self.services() {
            Some(known) if !known.contains(&service) => Err(no_such_service(service, known)),
            _ => Ok(()),
        }
    }
}

/// What is not needed to find containers is not read: it may be missing by now. Nor need a dependency have an active profile:
/// what is there can be looked at and stopped.
fn lenient(options: &mut LoadOptions) {
    options.no_env_resolution = true;
    options.no_consistency = true;
}

/// A service that was named and is not there.
pub(crate) fn no_such_service<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> CommandError {
    let error = CommandError::not_found(format!("no such service: {name}"));
    match plimsoll_dockerfile::nearest(name, known) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error,
    }
}

/// Starts drawing what a compose command does.
pub(crate) fn display(context: &Context, verb: &'static str) -> Result<Display, CommandError> {
    display_as(context, verb, None)
}

/// As [`display`], in a form that a flag of the command asks for.
pub(crate) fn display_as(
    context: &Context,
    verb: &'static str,
    mode: Option<Mode>,
) -> Result<Display, CommandError> {
    let args = context.compose();
    let mode = match (mode.or(args.progress), args.ansi()) {
        (None | Some(Mode::Auto), Ansi::Never) => Some(Mode::Plain),
        (None | Some(Mode::Auto), Ansi::Always) => Some(Mode::Tty),
        (mode, _) => mode,
    };
    context.progress_on(status_outlet(), verb, mode)
}

/// As [`display`], line by line also on a terminal: beside what others write.
pub(crate) fn display_lines(context: &Context, verb: &'static str) -> Result<Display, CommandError> {
    let asked = context.compose().progress;
    let mode = asked.filter(|mode| !matches!(mode, Mode::Auto | Mode::Tty));
    display_as(context, verb, Some(mode.unwrap_or(Mode::Plain)))
}

/// What a thing is called where it is said what is done with it, or would be.
pub(crate) fn told(context: &Context, name: impl std::fmt::Display) -> String {
    match context.compose().dry_run {
        true => format!("{DRY_RUN}{name}"),
        false => name.to_string(),
    }
}

/// Where it is said what is being done.
pub(crate) fn status_outlet() -> Outlet {
    match env::says_yes(env::COMPOSE_STATUS_STDOUT) {
        true => Outlet::Stdout,
        false => Outlet::Stderr,
    }
}

/// Whether what goes to standard output is coloured.
pub(crate) fn colors_output(context: &Context) -> bool {
    match context.compose().ansi() {
        Ansi::Always => true,
        Ansi::Never => false,
        Ansi::Auto if env::var(env::NO_COLOR).is_some() => false,
        Ansi::Auto => std::io::stdout().is_terminal() || context.color(),
    }
}

/// `compose --version`
pub(crate) fn print_version(out: &mut dyn std::io::Write) -> std::io::Result<()> {
    let own = env!("CARGO_PKG_VERSION");
    // Scripts take the first number they find.
    writeln!(out, "Plimsoll Compose version {VERSION} (Plimsoll {own})")
}

/// The project as plain data.
pub(crate) fn model(project: &Project) -> Result<Model, CommandError> {
    let wrong = |error| CommandError::internal("cannot understand the project", error);
    project.model().map_err(wrong)
}

/// Loads the project and shows what looks like a mistake in it.
pub(super) fn project(
    context: &Context,
    change: impl FnOnce(&mut LoadOptions),
) -> Result<Project, CommandError> {
    let mut options = options(context)?;
    change(&mut options);
    match load_with(&options, &|name| remote::fetch(context, name)) {
        Ok(project) => {
            project.warnings.iter().for_each(|warning| context.show(warning));
            Ok(project)
        }
        Err(found) => Err(CommandError::diagnostics(found)),
    }
}

/// Variables that this program itself reads: of the environment, and of the `.env` file where it does not say.
fn switches(
    args: &ComposeArgs,
    current: &Utf8Path,
    environment: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let folder = match (&args.project_directory, args.files.first()) {
        (Some(folder), _) => current.join(folder),
        (None, Some(file)) => current.join(file).parent().unwrap_or(current).to_owned(),
        (None, None) => current.to_owned(),
    };
    let files = match args.env_files.is_empty() {
        false => args.env_files.iter().map(|file| current.join(file)).collect(),
        true => vec![folder.join(".env")],
    };
    let mut switches = environment.clone();
    // What is wrong with such a file is said when the project is loaded.
    for text in files.iter().filter_map(|file| std::fs::read_to_string(file).ok()) {
        let lookup = |name: &str| environment.get(name).cloned();
        let Ok(variables) = dotenv::parse(&Source::new(".env", text), false, &lookup) else {
            continue;
        };
        for variable in variables.list {
            if let (true, Some(value)) = (variable.name.starts_with("COMPOSE_"), variable.value) {
                switches.entry(variable.name).or_insert(value);
            }
        }
    }
    switches
}

/// Says which of several files with a name that is looked for is taken.
fn warn_of_several(files: &[Utf8PathBuf], context: &Context) {
    for (file, what) in files.iter().zip(["config", "override"]) {
        let over = passed_over(file);
        if !over.is_empty() {
            let all: Vec<&str> = std::iter::once(file)
                .chain(&over)
                .map(|path| path.as_str())
                .collect();
            let all = all.join(", ");
            context.warn(format!("Found multiple {what} files with supported names: {all}"));
            context.warn(format!("Using {file}"));
        }
    }
}

fn options(context: &Context) -> Result<LoadOptions, CommandError> {
    let args = context.compose();
    let current = current_directory()?;
    let environment = env::all().collect::<BTreeMap<_, _>>();
    let switches = switches(args, &current, &environment);
    let files = files(context, &switches, &current)?;
    let env_files = match args.env_files.is_empty() {
        false => args.env_files.clone(),
        true => paths(&switches, env::COMPOSE_ENV_FILES, ","),
    };
    let ignores_env_file = environment
        .get(env::COMPOSE_DISABLE_ENV_FILE)
        .is_some_and(|value| value == "1" || value == "true");
    Ok(LoadOptions {
        stdin: standard_input(&files)?,
        files,
        looked_for: args.files.is_empty() && args.project_directory.is_none(),
        project_directory: args.project_directory.clone(),
        name: args.project_name.clone(),
        profiles: profiles(args, &switches),
        env_files: (!env_files.is_empty() || ignores_env_file).then_some(env_files),
        environment,
        current,
        all_resources: args.all_resources,
        ..LoadOptions::default()
    })
}

/// The files that are named, or else those that are found.
fn files(
    context: &Context,
    switches: &BTreeMap<String, String>,
    current: &Utf8Path,
) -> Result<Vec<Utf8PathBuf>, CommandError> {
    let args = context.compose();
    if !args.files.is_empty() {
        return Ok(args.files.clone());
    }
    let separator = switches
        .get(env::COMPOSE_PATH_SEPARATOR)
        .map_or(":", String::as_str);
    let named = paths(switches, env::COMPOSE_FILE, separator);
    if !named.is_empty() {
        return Ok(named);
    }
    let folder = args.project_directory.as_ref();
    let from = folder.map_or_else(|| current.to_owned(), |folder| current.join(folder));
    let found = find_files(&from).ok_or_else(|| {
        CommandError::user("no configuration file provided: not found").hint(format!(
            "`{from}` and the folders above have no compose.yaml; name a file with `-f`"
        ))
    })?;
    warn_of_several(&found, context);
    Ok(found)
}

/// The paths of a variable.
fn paths(switches: &BTreeMap<String, String>, name: &str, separator: &str) -> Vec<Utf8PathBuf> {
    let text = switches.get(name).map_or("", String::as_str);
    let parts = text.split(separator).filter(|part| !part.is_empty());
    parts.map(Utf8PathBuf::from).collect()
}

/// What stands for the file `-`.
fn standard_input(files: &[Utf8PathBuf]) -> Result<Option<String>, CommandError> {
    if !files.iter().any(|file| file == "-") {
        return Ok(None);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(Some(text))
}

/// The flag stands for the variable, not beside it; where neither says anything, that is the profile `""`.
fn profiles(args: &ComposeArgs, switches: &BTreeMap<String, String>) -> Vec<String> {
    if !args.profiles.is_empty() {
        return args.profiles.clone();
    }
    let text = switches.get(env::COMPOSE_PROFILES).map_or("", String::as_str);
    text.split(',').map(|profile| profile.trim().to_owned()).collect()
}
