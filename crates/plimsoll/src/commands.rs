//! The commands: one file each, one line in [`COMMANDS`] each.
//!
//! A file holds `Args` (its doc comment and those of its fields are the help text) and below it
//! `async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError>`.

use std::pin::Pin;
use std::process::ExitCode;

use clap::{ArgMatches, Args as _, FromArgMatches as _};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::command_error::CommandError;
use crate::context::Context;

pub(crate) mod asking;
pub(crate) mod attach;
pub(crate) mod build;
pub(crate) mod builder_history;
pub(crate) mod builder_prune;
pub(crate) mod buildx;
pub(crate) mod buildx_du;
pub(crate) mod check;
pub(crate) mod commit;
mod compat_options;
pub(crate) mod compose;
pub(crate) mod compose_attach;
pub(crate) mod compose_bridge;
pub(crate) mod compose_build;
pub(crate) mod compose_commit;
pub(crate) mod compose_config;
pub(crate) mod compose_cp;
pub(crate) mod compose_create;
pub(crate) mod compose_down;
pub(crate) mod compose_events;
pub(crate) mod compose_exec;
pub(crate) mod compose_export;
pub(crate) mod compose_images;
pub(crate) mod compose_kill;
pub(crate) mod compose_logs;
pub(crate) mod compose_ls;
pub(crate) mod compose_pause;
pub(crate) mod compose_port;
pub(crate) mod compose_ps;
pub(crate) mod compose_publish;
pub(crate) mod compose_pull;
pub(crate) mod compose_push;
pub(crate) mod compose_restart;
pub(crate) mod compose_rm;
pub(crate) mod compose_run;
pub(crate) mod compose_scale;
pub(crate) mod compose_start;
pub(crate) mod compose_stats;
pub(crate) mod compose_stop;
pub(crate) mod compose_top;
pub(crate) mod compose_unpause;
pub(crate) mod compose_up;
pub(crate) mod compose_version;
pub(crate) mod compose_volumes;
pub(crate) mod compose_wait;
pub(crate) mod compose_watch;
pub(crate) mod container_inspect;
pub(crate) mod container_options;
pub(crate) mod container_prune;
pub(crate) mod containers;
pub(crate) mod cp;
pub(crate) mod create;
pub(crate) mod diff;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod export;
mod gpus;
pub(crate) mod history;
pub(crate) mod image_du;
pub(crate) mod image_inspect;
pub(crate) mod image_prune;
pub(crate) mod images;
pub(crate) mod imagetools;
pub(crate) mod import;
pub(crate) mod inspect;
mod isolation_options;
pub(crate) mod kill;
pub(crate) mod load;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod logs;
pub(crate) mod lsp;
pub(crate) mod manifest;
pub(crate) mod network_connect;
pub(crate) mod network_create;
pub(crate) mod network_disconnect;
pub(crate) mod network_inspect;
pub(crate) mod network_ls;
pub(crate) mod network_options;
pub(crate) mod network_prune;
pub(crate) mod network_rm;
pub(crate) mod pause;
pub(crate) mod port;
pub(crate) mod ps;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod rename;
pub(crate) mod reset;
pub(crate) mod restart;
pub(crate) mod rm;
pub(crate) mod rmi;
pub(crate) mod run;
pub(crate) mod save;
pub(crate) mod session;
pub(crate) mod start;
pub(crate) mod stats;
pub(crate) mod stop;
pub(crate) mod system_check;
pub(crate) mod system_df;
pub(crate) mod system_prune;
pub(crate) mod system_restore;
pub(crate) mod tag;
pub(crate) mod terminal;
pub(crate) mod top;
pub(crate) mod unpause;
pub(crate) mod update;
pub(crate) mod version;
pub(crate) mod volume_create;
pub(crate) mod volume_inspect;
pub(crate) mod volume_ls;
pub(crate) mod volume_prune;
pub(crate) mod volume_rm;
pub(crate) mod wait;

/// Exit code of a command that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Does `work` until Ctrl-C, which drops it: what it began is taken back by those who began it.
async fn interruptible(
    work: impl Future<Output = Result<ExitCode, CommandError>>,
) -> Result<ExitCode, CommandError> {
    tokio::select! {
        result = work => result,
        _ = tokio::signal::ctrl_c() => Ok(ExitCode::from(INTERRUPTED)),
    }
}

/// Ctrl-C, from when this is made: one that comes between two waits is heard by the second.
fn interrupts() -> Result<Signal, CommandError> {
    signal(SignalKind::interrupt()).map_err(|error| CommandError::internal("cannot catch signals", error))
}

type Running<'a> = Pin<Box<dyn Future<Output = Result<ExitCode, CommandError>> + 'a>>;

/// One command under all its names.
pub(crate) struct Command {
    /// Where it hangs in the tree: `images`, `image ls|list` (`|` separates hidden aliases).
    pub(crate) paths: &'static [&'static str],
    /// Whether it does several things at once.
    pub(crate) threads: Threads,
    /// Adds its arguments.
    pub(crate) augment: fn(clap::Command) -> clap::Command,
    /// Runs it.
    pub(crate) run: for<'a> fn(&'a ArgMatches, &'a Context) -> Running<'a>,
}

/// Which tokio runtime a command gets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Threads {
    /// The calling thread only.
    One,
    /// A worker per processor, two at least.
    Many,
}

macro_rules! command {
    ($($module:ident)::+, $threads:ident, [$($path:literal),+]) => {
        Command {
            paths: &[$($path),+],
            threads: Threads::$threads,
            augment: |command| $($module)::+::Args::augment_args(command),
            run: |matches, context| {
                Box::pin(async move { $($module)::+::run($($module)::+::Args::from_arg_matches(matches)?, context).await })
            },
        }
    };
}

/// Every command.
pub(crate) const COMMANDS: &[Command] = &[
    command!(attach, One, ["attach", "container attach"]),
    command!(
        build,
        Many,
        ["build", "buildx build", "image build", "builder build"]
    ),
    command!(
        builder_history::explain,
        One,
        ["builder history explain", "buildx history explain"]
    ),
    command!(
        builder_history::inspect,
        One,
        ["builder history inspect", "buildx history inspect"]
    ),
    command!(
        builder_history::logs,
        One,
        ["builder history logs", "buildx history logs"]
    ),
    command!(
        builder_history::ls,
        One,
        ["builder history ls|list", "buildx history ls|list"]
    ),
    command!(
        builder_history::rm,
        One,
        ["builder history rm|remove", "buildx history rm|remove"]
    ),
    command!(builder_prune, One, ["builder prune", "buildx prune"]),
    command!(buildx::create, One, ["buildx create"]),
    command!(buildx::inspect, One, ["buildx inspect"]),
    command!(buildx::ls, One, ["buildx ls"]),
    command!(buildx::rm, One, ["buildx rm"]),
    command!(buildx::stop, One, ["buildx stop"]),
    command!(buildx::use_builder, One, ["buildx use"]),
    command!(buildx::version, One, ["buildx version"]),
    command!(buildx_du, One, ["buildx du", "builder du"]),
    command!(check, One, ["check"]),
    command!(commit, One, ["commit", "container commit"]),
    command!(compose_config, One, ["compose config|convert"]),
    command!(compose_attach, One, ["compose attach"]),
    command!(compose_bridge::convert, One, ["compose bridge convert"]),
    command!(
        compose_bridge::create,
        One,
        ["compose bridge transformations create"]
    ),
    command!(
        compose_bridge::list,
        One,
        ["compose bridge transformations list|ls"]
    ),
    command!(compose_build, Many, ["compose build"]),
    command!(compose_commit, One, ["compose commit"]),
    command!(compose_cp, One, ["compose cp"]),
    command!(compose_events, One, ["compose events"]),
    command!(compose_exec, One, ["compose exec"]),
    command!(compose_export, One, ["compose export"]),
    command!(compose_images, One, ["compose images"]),
    command!(compose_logs, One, ["compose logs"]),
    command!(compose_ls, One, ["compose ls"]),
    command!(compose_port, One, ["compose port"]),
    command!(compose_ps, One, ["compose ps"]),
    command!(compose_publish, One, ["compose publish"]),
    command!(compose_push, Many, ["compose push"]),
    command!(compose_pull, Many, ["compose pull"]),
    command!(compose_stats, One, ["compose stats"]),
    command!(compose_top, One, ["compose top"]),
    command!(compose_create, Many, ["compose create"]),
    command!(compose_down, One, ["compose down"]),
    command!(compose_kill, One, ["compose kill"]),
    command!(compose_pause, One, ["compose pause"]),
    command!(compose_restart, One, ["compose restart"]),
    command!(compose_rm, One, ["compose rm"]),
    command!(compose_run, Many, ["compose run"]),
    command!(compose_scale, Many, ["compose scale"]),
    command!(compose_start, One, ["compose start"]),
    command!(compose_stop, One, ["compose stop"]),
    command!(compose_unpause, One, ["compose unpause"]),
    command!(compose_up, Many, ["compose up"]),
    command!(compose_wait, One, ["compose wait"]),
    command!(compose_watch, Many, ["compose watch"]),
    command!(compose_version, One, ["compose version"]),
    command!(compose_volumes, One, ["compose volumes"]),
    command!(container_inspect, One, ["container inspect"]),
    command!(cp, One, ["cp", "container cp"]),
    command!(create, One, ["create", "container create"]),
    command!(diff, One, ["diff", "container diff"]),
    command!(exec, One, ["exec", "container exec"]),
    command!(export, One, ["export", "container export"]),
    command!(history, One, ["history", "image history"]),
    command!(image_du, One, ["image du"]),
    command!(image_inspect, One, ["image inspect"]),
    command!(image_prune, One, ["image prune"]),
    command!(
        imagetools::create,
        Many,
        ["imagetools create", "buildx imagetools create"]
    ),
    command!(
        imagetools::inspect,
        One,
        ["imagetools inspect", "buildx imagetools inspect"]
    ),
    command!(images, One, ["images", "image ls|list"]),
    command!(import, One, ["import", "image import"]),
    command!(inspect, One, ["inspect"]),
    command!(kill, One, ["kill", "container kill"]),
    command!(load, One, ["load", "image load"]),
    command!(login, One, ["login"]),
    command!(logout, One, ["logout"]),
    command!(logs, One, ["logs", "container logs"]),
    command!(lsp, One, ["lsp"]),
    command!(manifest::annotate, One, ["manifest annotate"]),
    command!(manifest::create, One, ["manifest create"]),
    command!(manifest::inspect, One, ["manifest inspect"]),
    command!(manifest::push, One, ["manifest push"]),
    command!(manifest::rm, One, ["manifest rm"]),
    command!(port, One, ["port", "container port"]),
    command!(ps, One, ["ps", "container ls|list|ps"]),
    command!(pull, Many, ["pull", "image pull"]),
    command!(push, Many, ["push", "image push"]),
    command!(reset, One, ["system reset"]),
    command!(restart, One, ["restart", "container restart"]),
    command!(rm, One, ["rm", "container rm|remove"]),
    command!(rmi, One, ["rmi", "image rm|remove"]),
    command!(run, One, ["run", "container run"]),
    command!(save, One, ["save", "image save"]),
    command!(start, One, ["start", "container start"]),
    command!(stop, One, ["stop", "container stop"]),
    command!(system_check, One, ["system check"]),
    command!(system_df, One, ["system df"]),
    command!(system_prune, One, ["system prune"]),
    command!(system_restore, One, ["system restore"]),
    command!(tag, One, ["tag", "image tag"]),
    command!(version, One, ["version"]),
    command!(volume_create, One, ["volume create"]),
    command!(volume_inspect, One, ["volume inspect"]),
    command!(volume_ls, One, ["volume ls|list"]),
    command!(volume_prune, One, ["volume prune"]),
    command!(volume_rm, One, ["volume rm|remove"]),
    command!(container_prune, One, ["container prune"]),
    command!(events, One, ["events", "system events"]),
    command!(network_connect, One, ["network connect"]),
    command!(network_create, One, ["network create"]),
    command!(network_disconnect, One, ["network disconnect"]),
    command!(network_inspect, One, ["network inspect"]),
    command!(network_ls, One, ["network ls|list"]),
    command!(network_prune, One, ["network prune"]),
    command!(network_rm, One, ["network rm|remove"]),
    command!(pause, One, ["pause", "container pause"]),
    command!(rename, One, ["rename", "container rename"]),
    command!(stats, One, ["stats", "container stats"]),
    command!(top, One, ["top", "container top"]),
    command!(unpause, One, ["unpause", "container unpause"]),
    command!(update, One, ["update", "container update"]),
    command!(wait, One, ["wait", "container wait"]),
];

/// Names of the groups that [`COMMANDS`] hang in, with their help line.
pub(crate) const GROUPS: &[(&str, &str)] = &[
    ("builder", "Manage builds"),
    ("builder history", "Look at builds of the past"),
    (
        "buildx",
        "Build images, under the name of Docker's extended builder",
    ),
    ("buildx history", "Look at builds of the past"),
    (
        "buildx imagetools",
        "Look at images in registries, and make indexes of them",
    ),
    ("compose", "Work with the services of a compose file"),
    (
        "compose bridge",
        "Convert projects into the models of other platforms",
    ),
    (
        "compose bridge transformations",
        "Manage the images that convert projects",
    ),
    ("container", "Manage containers"),
    ("image", "Manage images"),
    (
        "imagetools",
        "Look at images in registries, and make indexes of them",
    ),
    ("manifest", "Put lists of images together"),
    ("network", "Manage networks"),
    ("system", "Manage Plimsoll itself"),
    ("volume", "Manage volumes"),
];
