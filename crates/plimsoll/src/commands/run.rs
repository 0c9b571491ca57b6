//! `run`, `container run`

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::ExitCode;

use plimsoll_container::{Attached, Container, ContainerError, Containers, Started, Supervisor};
use plimsoll_image::Image;
use plimsoll_oci::Platform;

use super::container_options::{ContainerArgs, Pull, reference};
use super::containers::{self, exit_byte};
use super::session::{self, Outcome, Session};
use super::terminal;
use crate::command_error::{CommandError, Kind};
use crate::context::Context;
use crate::gate::run_facts;

/// Run a command in a new container
///
/// In the foreground its output is yours, its exit code becomes this command's, and signals are passed on to it.
/// 125 means that Plimsoll failed, 126 that the command cannot be executed, 127 that it is not there.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run in the background and print the container's id
    #[arg(short, long)]
    detach: bool,
    /// Keys that leave the container running in the background
    #[arg(long, value_name = "KEYS", default_value = super::terminal::DETACH_KEYS)]
    detach_keys: String,
    /// Pass signals on to the container
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    sig_proxy: bool,
    #[command(flatten)]
    container: ContainerArgs,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    if args.detach && !args.container.attach.is_empty() {
        return Err(CommandError::usage(
            "conflicting options: cannot specify both --attach and --detach",
        ));
    }
    if !args.detach {
        terminal::check_input(args.container.interactive, args.container.tty)?;
    }
    ours(run_container(&args, context).await)
}

/// A failure of ours is 125, whatever it would be in another command.
fn ours<T>(result: Result<T, CommandError>) -> Result<T, CommandError> {
    result.map_err(|mut error| {
        if !matches!(error.kind, Kind::Container(_) | Kind::Usage) {
            error.kind = Kind::Container(125);
        }
        error
    })
}

async fn run_container(args: &Args, context: &Context) -> Result<ExitCode, CommandError> {
    plimsoll_runtime::warm_control_groups();
    let containers = containers::new_containers(context)?;
    // It starts while the container is made.
    let id = Containers::new_id()?;
    let supervisor = containers.supervisor(&id)?;
    let container = create(&args.container, Some(id), args.detach, &containers, context).await?;
    let started = start(args, context, supervisor, &containers, &container).await;
    if started.is_err() && args.container.rm {
        containers.remove(&container, true)?;
    }
    started
}

async fn start(
    args: &Args,
    context: &Context,
    supervisor: Supervisor,
    containers: &Containers,
    container: &Container,
) -> Result<ExitCode, CommandError> {
    if args.detach {
        let started = containers.start_with(supervisor, container, false).await?;
        warn(context, started.as_ref())?;
        writeln!(context.stdout(), "{}", container.id())?;
        return Ok(ExitCode::SUCCESS);
    }
    let flags = &args.container;
    let attached = |stream: &str| {
        flags.attach.is_empty() || flags.attach.iter().any(|name| name.eq_ignore_ascii_case(stream))
    };
    let interactive = flags.interactive && attached("stdin");
    let mut session = Session::new(interactive, flags.tty, args.sig_proxy, &args.detach_keys)?;
    session.shown = (attached("stdout"), attached("stderr"));
    let started = containers.start_with(supervisor, container, true).await?;
    warn(context, started.as_ref())?;
    let Some(mut attachment) = started.and_then(|started| started.attachment) else {
        return Err(ContainerError::Running(container.name.clone()).into());
    };
    // Held to the end: while it is there, the supervisor leaves the removal to this process.
    let outcome = session.run(&mut attachment, containers, container).await?;
    if flags.rm && !matches!(outcome, Outcome::Detached) {
        containers.settle(container).await?;
        containers.remove(container, true)?;
    }
    Ok(session::exit_code(context, container, &outcome))
}

/// What was asked for and could not be given.
fn warn(context: &Context, started: Option<&Started>) -> Result<(), CommandError> {
    for warning in started.iter().flat_map(|started| &started.warnings) {
        writeln!(context.stderr(), "WARNING: {warning}")?;
    }
    Ok(())
}

/// Makes the container that the flags describe; also `create`.
pub(crate) async fn create(
    args: &ContainerArgs,
    id: Option<String>,
    detached: bool,
    containers: &Containers,
    context: &Context,
) -> Result<Container, CommandError> {
    let mut options = args.options()?;
    let gate = args.gate.open(context)?;
    if let Some(path) = args.cidfile.as_ref().filter(|path| path.exists()) {
        return Err(CommandError::user(format!(
            "container ID file found, make sure the other container isn't running or delete {path}"
        )));
    }
    if let Some(warning) = args.network.warning() {
        writeln!(context.stderr(), "{warning}")?;
    }
    for warning in args.compat.warnings() {
        writeln!(context.stderr(), "WARNING: {warning}")?;
    }
    options.id = id;
    if detached {
        options.attached = Attached::default();
    }
    options.mounts.splice(..0, args.inherited_mounts(containers)?);
    let image = image(args, args.image(), context).await?;
    let settings = &context.settings()?.run;
    args.isolation.harden(
        settings.hardened.unwrap_or(false),
        &mut options,
        &image.config.config,
    )?;
    if let Some(gate) = gate {
        gate.judge(&image, args.image(), Some(run_facts(&options, None)))?;
    }
    let parent = context.images()?.hold(&image)?;
    let to_mount: BTreeSet<String> = options.images_to_mount().map(str::to_owned).collect();
    for name in to_mount {
        let image = self::image(args, &name, context).await?;
        let top = context.images()?.hold(&image)?;
        options.mounted_images.insert(name, top);
    }
    let container = containers.create(&image, parent, &options)?;
    // From here on the container keeps what it needs, and `run` may last for weeks.
    context.store()?.release();
    if let Some(path) = &args.cidfile {
        let written =
            std::fs::File::create_new(path).and_then(|mut file| file.write_all(container.id().as_bytes()));
        if let Err(error) = written {
            containers.remove(&container, true)?;
            return Err(CommandError::user(format!(
                "cannot write the container id to `{path}`: {error}"
            )));
        }
    }
    Ok(container)
}

/// The image, from the store or a registry.
async fn image(args: &ContainerArgs, name: &str, context: &Context) -> Result<Image, CommandError> {
    let images = context.images()?;
    let platform = args.platform()?;
    let stored = || match &platform {
        Some(platform) => images.find_for(name, platform),
        None => images.find(name),
    };
    if args.pull != Pull::Always
        && let Some(image) = stored()?
    {
        return Ok(image);
    }
    if args.pull == Pull::Never {
        return Err(CommandError::new(
            Kind::Container(exit_byte(125)),
            format!("No such image: {name}"),
        ));
    }
    let reference = reference(name)?;
    if args.pull == Pull::Missing && !args.quiet {
        writeln!(
            context.stderr(),
            "Unable to find image '{}' locally",
            reference.familiar()
        )?;
    }
    let platform = platform.unwrap_or_else(Platform::host);
    let always = args.pull == Pull::Always;
    let mode = args.quiet.then_some(crate::progress::Mode::Quiet);
    let display = context.progress("Pulling", mode)?;
    let image = images
        .obtain(&reference, &platform, always, display.progress())
        .await;
    display.finish();
    Ok(image?)
}
