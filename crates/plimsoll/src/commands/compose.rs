//! What the compose commands share: the project that the flags before the command name.

use std::io::Read as _;

use camino::Utf8PathBuf;
use plimsoll_compose_file::{LoadOptions, Project, find_files, load};

use super::container_options::current_directory;
use crate::command_error::CommandError;
use crate::context::Context;

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
    #[arg(long, value_name = "FOLDER")]
    project_directory: Option<Utf8PathBuf>,
}

/// Loads the project and shows what looks like a mistake in it.
pub(super) fn project(
    context: &Context,
    change: impl FnOnce(&mut LoadOptions),
) -> Result<Project, CommandError> {
    let mut options = options(context.compose())?;
    change(&mut options);
    match load(&options) {
        Ok(project) => {
            project.warnings.iter().for_each(|warning| context.show(warning));
            Ok(project)
        }
        Err(found) => Err(CommandError::diagnostics(found)),
    }
}

fn options(args: &ComposeArgs) -> Result<LoadOptions, CommandError> {
    let current = current_directory()?;
    let environment = std::env::vars().collect::<std::collections::BTreeMap<_, _>>();
    let list = |name: &str, separator: &str| -> Vec<String> {
        let text = environment.get(name).cloned().unwrap_or_default();
        text.split(separator)
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let mut files = args.files.clone();
    if files.is_empty() {
        let separator = environment
            .get(crate::env::COMPOSE_PATH_SEPARATOR)
            .map_or(":", String::as_str);
        files = list(crate::env::COMPOSE_FILE, separator)
            .into_iter()
            .map(Utf8PathBuf::from)
            .collect();
    }
    if files.is_empty() {
        let from = args
            .project_directory
            .as_ref()
            .map_or_else(|| current.clone(), |folder| current.join(folder));
        files = find_files(&from).ok_or_else(|| {
            CommandError::user("no configuration file provided: not found").hint(format!(
                "`{from}` and the folders above have no compose.yaml; name a file with `-f`"
            ))
        })?;
    }
    let mut stdin = None;
    if files.iter().any(|file| file == "-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        stdin = Some(text);
    }
    let env_files = match args.env_files.is_empty() {
        false => args.env_files.clone(),
        true => list(crate::env::COMPOSE_ENV_FILES, ",")
            .into_iter()
            .map(Utf8PathBuf::from)
            .collect(),
    };
    let mut profiles = args.profiles.clone();
    profiles.extend(list(crate::env::COMPOSE_PROFILES, ","));
    let ignores_env_file = environment
        .get(crate::env::COMPOSE_DISABLE_ENV_FILE)
        .is_some_and(|value| value == "1" || value == "true");
    Ok(LoadOptions {
        files,
        stdin,
        project_directory: args.project_directory.clone(),
        name: args.project_name.clone(),
        profiles,
        env_files: (!env_files.is_empty() || ignores_env_file).then_some(env_files),
        environment,
        current,
        ..LoadOptions::default()
    })
}
