//! `compose run`

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::ExitCode;

use camino::Utf8PathBuf;
use plimsoll_compose::{ApplyOptions, Plan, UpOptions};
use plimsoll_compose_file::Project;
use plimsoll_compose_file::model::Model;
use plimsoll_container::{
    Attached, Container, ContainerError, Containers, CreateOptions, MountRequest, MountSource,
};
use plimsoll_network::PortRequest;

use super::compose::converging::{Changing, ImageArgs, orphans};
use super::compose::{display_as, project};
use super::compose_exec::has_terminal;
use super::container_options::{current_directory, environment};
use super::interruptible;
use super::session::{self, Outcome, Session};
use super::terminal::DETACH_KEYS;
use crate::command_error::CommandError;
use crate::context::Context;
use crate::progress::Mode;

/// Run a command in a new container of a service
///
/// Beside those of `up`: on the same networks and volumes, but without the service's ports and restart policy. What the
/// service depends on is started first. The exit code is the command's.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    images: ImageArgs,
    /// Add a capability
    #[arg(long, value_name = "CAPABILITY")]
    cap_add: Vec<String>,
    /// Drop a capability
    #[arg(long, value_name = "CAPABILITY")]
    cap_drop: Vec<String>,
    /// Run in the background and print the container's id
    #[arg(short, long)]
    detach: bool,
    /// Replace the entrypoint
    #[arg(long, value_name = "COMMAND")]
    entrypoint: Option<String>,
    /// Set an environment variable; without a value it is taken from the environment
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Read environment variables from a file
    #[arg(long = "env-from-file", value_name = "FILE")]
    env_files: Vec<Utf8PathBuf>,
    /// Pass standard input on
    #[arg(short, long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    interactive: bool,
    /// Set a label
    #[arg(short, long = "label", value_name = "NAME[=VALUE]")]
    labels: Vec<String>,
    /// Give the container a name
    #[arg(long)]
    name: Option<String>,
    /// Start nothing that the service depends on
    #[arg(long)]
    no_deps: bool,
    /// Without a terminal
    #[arg(short = 'T', long = "no-tty", alias = "no-TTY")]
    no_tty: bool,
    /// With a terminal, which is so anyway where there is one
    #[arg(short, long, hide = true)]
    tty: bool,
    /// Publish a port
    #[arg(short, long, value_name = "PORTS", conflicts_with = "service_ports")]
    publish: Vec<String>,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    /// Remove containers of services that the files do not have
    #[arg(long)]
    remove_orphans: bool,
    /// Remove the container when it ends
    #[arg(long)]
    rm: bool,
    /// Publish the service's ports
    #[arg(short = 'P', long)]
    service_ports: bool,
    /// Answer to the service's names on its networks
    #[arg(long)]
    use_aliases: bool,
    /// Run as this user
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Mount a host path or a volume
    #[arg(short, long = "volume", value_name = "[SOURCE:]TARGET[:ro]")]
    volumes: Vec<String>,
    /// Start in this directory
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// Service, and a command instead of its own
    #[arg(required = true, trailing_var_arg = true, value_names = ["SERVICE", "COMMAND"], num_args = 1..)]
    service_and_command: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let [service, command @ ..] = args.service_and_command.as_slice() else {
        unreachable!("clap wants one at least")
    };
    let project = project(context, |options| options.named = vec![service.clone()])?;
    let mut made = None;
    let preparing = async {
        made = make(&args, service, command, context, &project).await?;
        Ok(ExitCode::SUCCESS)
    };
    let code = interruptible(preparing).await?;
    match made {
        Some((containers, container)) => start(&args, context, &containers, &container).await,
        None => Ok(code),
    }
}

/// Starts what the service depends on, and makes its container. None in a dry run.
async fn make(
    args: &Args,
    service: &str,
    command: &[String],
    context: &Context,
    project: &Project,
) -> Result<Option<(Containers, Container)>, CommandError> {
    let display = display_as(context, "Running", args.quiet.then_some(Mode::Quiet))?;
    let progress = display.progress();
    let changing = Changing::new(context, &project.name, Some(project), progress).await?;
    let desired = changing.desired.clone().expect("its files were read");
    let selected = desired.selected(&[service.to_owned()], !args.no_deps)?;
    changing
        .images(project, &selected, &args.images, progress)
        .await?;
    let (remove_orphans, ignore_orphans) = orphans(args.remove_orphans);
    let options = UpOptions {
        services: vec![service.to_owned()],
        no_deps: args.no_deps,
        remove_orphans,
        ignore_orphans,
        ..UpOptions::default()
    };
    let observed = changing.observe()?;
    let plan = Plan::up(&desired, &observed, &options)?.around(service, &observed);
    changing.apply(plan, ApplyOptions::default()).await?;
    if context.compose().dry_run {
        return Ok(None);
    }
    let changes = Changes::of(args, command, &desired.model, project)?;
    let container = changing
        .converge
        .one_off(&desired, service, move |options| changes.apply(options))
        .await?;
    Ok(Some((changing.containers.clone(), container)))
}

/// What the command line says of the container.
struct Changes {
    name: Option<String>,
    command: Vec<String>,
    entrypoint: Option<Vec<String>>,
    env: Vec<String>,
    labels: BTreeMap<String, String>,
    ports: Option<Vec<PortRequest>>,
    mounts: Vec<MountRequest>,
    caps: (Vec<String>, Vec<String>),
    user: Option<String>,
    workdir: Option<String>,
    use_aliases: bool,
    tty: bool,
    open_stdin: bool,
    attached: Attached,
    auto_remove: bool,
}

impl Changes {
    fn of(args: &Args, command: &[String], model: &Model, project: &Project) -> Result<Self, CommandError> {
        let words = |text: &String| {
            shell_words::split(text)
                .map_err(|error| CommandError::user(format!("invalid `--entrypoint {text}`: {error}")))
        };
        let mut ports = Vec::new();
        for text in &args.publish {
            ports.extend(PortRequest::parse(text).map_err(CommandError::usage)?);
        }
        let folder = current_directory()?;
        let mounts = args.volumes.iter().map(|text| {
            let mut mount = MountRequest::parse_volume(text, &folder)?;
            in_project(&mut mount, model);
            Ok(mount)
        });
        let pair = |text: &String| {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            (name.to_owned(), value.to_owned())
        };
        let attaches = !args.detach;
        Ok(Self {
            name: args.name.clone(),
            command: command.to_vec(),
            entrypoint: args.entrypoint.as_ref().map(words).transpose()?,
            env: variables(args, project)?,
            labels: args.labels.iter().map(pair).collect(),
            ports: (!args.service_ports).then_some(ports),
            mounts: mounts.collect::<Result<_, CommandError>>()?,
            caps: (args.cap_add.clone(), args.cap_drop.clone()),
            user: args.user.clone(),
            workdir: args.workdir.clone(),
            use_aliases: args.use_aliases,
            tty: attaches && has_terminal(args.no_tty),
            open_stdin: args.interactive,
            attached: Attached {
                stdin: attaches && args.interactive,
                stdout: attaches,
                stderr: attaches,
            },
            auto_remove: args.rm,
        })
    }

    fn apply(self, options: &mut CreateOptions) {
        options.name = self.name.or(options.name.take());
        if let Some(entrypoint) = self.entrypoint {
            options.entrypoint = Some(entrypoint);
            options.command.clear();
        }
        if !self.command.is_empty() {
            options.command = self.command;
        }
        let given: BTreeSet<String> = self.env.iter().map(|entry| variable(entry).to_owned()).collect();
        options.env.retain(|entry| !given.contains(variable(entry)));
        options.env.extend(self.env);
        options.labels.extend(self.labels);
        if let Some(ports) = self.ports {
            options.ports = ports;
        }
        options
            .mounts
            .retain(|mount| !self.mounts.iter().any(|new| new.target == mount.target));
        options.mounts.extend(self.mounts);
        options.cap_add.extend(self.caps.0);
        options.cap_drop.extend(self.caps.1);
        options.user = self.user.or(options.user.take());
        options.working_dir = self.workdir.or(options.working_dir.take());
        if !self.use_aliases {
            for (_, place) in &mut options.attachments {
                place.aliases = Vec::new();
            }
        }
        options.tty = self.tty;
        options.open_stdin = self.open_stdin;
        options.attached = self.attached;
        options.auto_remove = self.auto_remove;
    }
}

fn variable(entry: &str) -> &str {
    entry.split('=').next().unwrap_or_default()
}

/// Variables of files and flags; those without a value have the project's, which knows `.env`, too.
fn variables(args: &Args, project: &Project) -> Result<Vec<String>, CommandError> {
    let given = environment(&args.env_files, &args.env)?;
    let with_value = |entry: String| match (entry.contains('='), project.environment.get(&entry)) {
        (false, Some(origin)) => format!("{entry}={}", origin.value),
        _ => entry,
    };
    Ok(given.into_iter().map(with_value).collect())
}

/// A volume that the project has goes by its name there.
fn in_project(mount: &mut MountRequest, model: &Model) {
    if let MountSource::Volume(volume) = &mut mount.source
        && let Some(name) = &mut volume.name
        && let Some(known) = model.volumes.get(name.as_str())
    {
        name.clone_from(&known.name);
    }
}

async fn start(
    args: &Args,
    context: &Context,
    containers: &Containers,
    container: &Container,
) -> Result<ExitCode, CommandError> {
    let ran = match args.detach {
        true => in_background(context, containers, container).await,
        false => attached(args, context, containers, container).await,
    };
    if ran.is_err() && args.rm {
        containers.remove(container, true)?;
    }
    ran
}

async fn in_background(
    context: &Context,
    containers: &Containers,
    container: &Container,
) -> Result<ExitCode, CommandError> {
    containers.start(container, false).await?;
    writeln!(context.stdout(), "{}", container.id())?;
    Ok(ExitCode::SUCCESS)
}

async fn attached(
    args: &Args,
    context: &Context,
    containers: &Containers,
    container: &Container,
) -> Result<ExitCode, CommandError> {
    let tty = container.definition.spec.tty;
    let session = Session::new(args.interactive, tty, true, DETACH_KEYS)?;
    let Some(mut attachment) = containers.start(container, true).await? else {
        return Err(ContainerError::Running(container.name.clone()).into());
    };
    let outcome = session.run(&mut attachment, containers, container).await?;
    if args.rm && !matches!(outcome, Outcome::Detached) {
        containers.settle(container).await?;
        containers.remove(container, true)?;
    }
    Ok(session::exit_code(context, container, &outcome))
}
