//! Every environment variable this program reads, in one place.

use std::ffi::OsString;

/// Folder for all state, the run-time folder included; as `--root`. Since 0.1.
pub(crate) const PLIMSOLL_ROOT: &str = "PLIMSOLL_ROOT";
/// One more settings file, read after the system's and the user's; as `--settings`. Since 0.1.
pub(crate) const PLIMSOLL_CONFIG: &str = "PLIMSOLL_CONFIG";
/// Progress form of long commands; `--progress` beats it. Since 0.1.
pub(crate) const PLIMSOLL_PROGRESS: &str = "PLIMSOLL_PROGRESS";
/// As [`PLIMSOLL_PROGRESS`], which beats it; buildx's name. Since 0.1.
pub(crate) const BUILDKIT_PROGRESS: &str = "BUILDKIT_PROGRESS";
/// True: no provenance goes along that was not asked for; buildx's name. Since 0.1.
pub(crate) const BUILDX_NO_DEFAULT_ATTESTATIONS: &str = "BUILDX_NO_DEFAULT_ATTESTATIONS";
/// Colours of `--progress=tty`: `run=green:error=255,80,80`, also `cancel`. Since 0.1.
pub(crate) const BUILDKIT_COLORS: &str = "BUILDKIT_COLORS";
/// Lines of output that `--progress=tty` shows of each running step; 6 if not set. Since 0.1.
pub(crate) const BUILDKIT_TTY_LOG_LINES: &str = "BUILDKIT_TTY_LOG_LINES";
/// Folder of Docker's `config.json` with credentials; as `--config`. Since 0.1.
pub(crate) const DOCKER_CONFIG: &str = "DOCKER_CONFIG";
/// A remote engine, which Plimsoll does not use: noted on stderr. Since 0.1.
pub(crate) const DOCKER_HOST: &str = "DOCKER_HOST";
/// Platform when `--platform` is not given. Since 0.1.
pub(crate) const DOCKER_DEFAULT_PLATFORM: &str = "DOCKER_DEFAULT_PLATFORM";
/// Not empty: no colour. Since 0.1.
pub(crate) const NO_COLOR: &str = "NO_COLOR";
/// Not empty: colour even when the output is not a terminal. Since 0.1.
pub(crate) const FORCE_COLOR: &str = "FORCE_COLOR";
/// Not empty and not `0`: as [`FORCE_COLOR`]. Since 0.1.
pub(crate) const CLICOLOR_FORCE: &str = "CLICOLOR_FORCE";
/// Not empty: progress is plain text. Since 0.1.
pub(crate) const CI: &str = "CI";
/// Width of the terminal when it cannot be asked. Since 0.1.
pub(crate) const COLUMNS: &str = "COLUMNS";
/// Socket of the user's ssh agent, for `build --ssh default`. Since 0.1.
pub(crate) const SSH_AUTH_SOCK: &str = "SSH_AUTH_SOCK";
/// Time of what is built, in seconds since 1970, unless `--build-arg` gives another. Since 0.1.
pub(crate) const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";
/// Address of GitHub Actions' cache service, for `type=gha`. Since 0.1.
pub(crate) const ACTIONS_RESULTS_URL: &str = "ACTIONS_RESULTS_URL";
/// Token for [`ACTIONS_RESULTS_URL`]. Since 0.1.
pub(crate) const ACTIONS_RUNTIME_TOKEN: &str = "ACTIONS_RUNTIME_TOKEN";
/// Compose files, where no `-f` is given; Compose's name, as all below. Since 0.1.
pub(crate) const COMPOSE_FILE: &str = "COMPOSE_FILE";
/// What stands between the files of [`COMPOSE_FILE`], a colon if nothing. Since 0.1.
pub(crate) const COMPOSE_PATH_SEPARATOR: &str = "COMPOSE_PATH_SEPARATOR";
/// Active profiles, with commas between them. Since 0.1.
pub(crate) const COMPOSE_PROFILES: &str = "COMPOSE_PROFILES";
/// Files of variables, with commas between them, where no `--env-file` is given. Since 0.1.
pub(crate) const COMPOSE_ENV_FILES: &str = "COMPOSE_ENV_FILES";
/// `1` or `true`: `.env` is not read. Since 0.1.
pub(crate) const COMPOSE_DISABLE_ENV_FILE: &str = "COMPOSE_DISABLE_ENV_FILE";
/// Name of the project where no `-p` is given. Since 0.1.
pub(crate) const COMPOSE_PROJECT_NAME: &str = "COMPOSE_PROJECT_NAME";
/// How many things of a project are worked at at once; `--parallel` beats it. Since 0.1.
pub(crate) const COMPOSE_PARALLEL_LIMIT: &str = "COMPOSE_PARALLEL_LIMIT";
/// `never`, `always` or `auto`; `--ansi` beats it. Since 0.1.
pub(crate) const COMPOSE_ANSI: &str = "COMPOSE_ANSI";
/// Progress form of compose commands; `--progress` beats it. Since 0.1.
pub(crate) const COMPOSE_PROGRESS: &str = "COMPOSE_PROGRESS";
/// `1` or `true`: what compose commands do is shown on standard output. Since 0.1.
pub(crate) const COMPOSE_STATUS_STDOUT: &str = "COMPOSE_STATUS_STDOUT";
/// `1` or `true`: names of containers are those of Compose 1. Since 0.1.
pub(crate) const COMPOSE_COMPATIBILITY: &str = "COMPOSE_COMPATIBILITY";
/// `1` or `true`: `up`, `run` and `down` remove containers of services that are gone. Since 0.1.
pub(crate) const COMPOSE_REMOVE_ORPHANS: &str = "COMPOSE_REMOVE_ORPHANS";
/// `1` or `true`: nothing is said about containers of services that are gone. Since 0.1.
pub(crate) const COMPOSE_IGNORE_ORPHANS: &str = "COMPOSE_IGNORE_ORPHANS";
/// Home folder. Since 0.1.
pub(crate) const HOME: &str = "HOME";
/// Folder of the user's settings. Since 0.1.
pub(crate) const XDG_CONFIG_HOME: &str = "XDG_CONFIG_HOME";
/// Folder of the user's state, when not root. Since 0.1.
pub(crate) const XDG_DATA_HOME: &str = "XDG_DATA_HOME";
/// The user's run-time folder, when not root. Since 0.1.
pub(crate) const XDG_RUNTIME_DIR: &str = "XDG_RUNTIME_DIR";

/// Folders with programs. Since 0.1.
const PATH: &str = "PATH";

/// Returns the folders in which programs are looked for.
pub(crate) fn path() -> Vec<std::path::PathBuf> {
    let path = std::env::var_os(PATH).unwrap_or_default();
    std::env::split_paths(&path).collect()
}

/// Returns a variable that is set and not empty.
pub(crate) fn var(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Returns all variables that are text: what is not can stand in no file that would name them.
pub(crate) fn all() -> impl Iterator<Item = (String, String)> {
    let is_text =
        |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    std::env::vars_os().filter_map(is_text)
}

/// Whether a variable says yes, in the words of Go's strconv.ParseBool.
pub(crate) fn says_yes(name: &str) -> bool {
    var(name).is_some_and(|value| ["1", "t", "T", "true", "TRUE", "True"].contains(&value.as_str()))
}

/// True when colour is asked for whatever the output is.
pub(crate) fn forces_color() -> bool {
    var(FORCE_COLOR).is_some() || var(CLICOLOR_FORCE).is_some_and(|value| value != "0")
}
