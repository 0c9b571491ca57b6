//! `run`, `container run`

use std::io::Write as _;
use std::process::ExitCode;

use plimsoll_container::{Container, ContainerError, Containers};
use plimsoll_image::Image;
use plimsoll_oci::Platform;

use super::container_options::{ContainerArgs, Pull, reference};
use super::containers::{self, exit_byte};
use super::session::{self, Outcome, Session};
use super::terminal;
use crate::command_error::{CommandError, Kind};
use crate::context::Context;

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
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    detach_keys: String,
    /// Pass signals on to the container
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    sig_proxy: bool,
    #[command(flatten)]
    container: ContainerArgs,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
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
    let (containers, container) = create(&args.container, context).await?;
    let started = start(args, context, &containers, &container).await;
    if started.is_err() && args.container.rm {
        containers.remove(&container, true)?;
    }
    started
}

async fn start(
    args: &Args,
    context: &Context,
    containers: &Containers,
    container: &Container,
) -> Result<ExitCode, CommandError> {
    if args.detach {
        containers.start(container, false).await?;
        writeln!(context.stdout(), "{}", container.id())?;
        return Ok(ExitCode::SUCCESS);
    }
    let flags = &args.container;
    let session = Session::new(flags.interactive, flags.tty, args.sig_proxy, &args.detach_keys)?;
    let Some(attachment) = containers.start(container, true).await? else {
        return Err(ContainerError::Running(container.name.clone()).into());
    };
    let outcome = session.run(attachment, containers, container).await?;
    if flags.rm && !matches!(outcome, Outcome::Detached) {
        containers.settle(container).await?;
        containers.remove(container, true)?;
    }
    Ok(session::exit_code(context, container, &outcome))
}

/// Makes the container that the flags describe; also `create`.
pub(crate) async fn create(
    args: &ContainerArgs,
    context: &Context,
) -> Result<(Containers, Container), CommandError> {
    let containers = containers::containers(context)?;
    let mut options = args.options()?;
    options.mounts.splice(..0, args.inherited_mounts(&containers)?);
    let image = image(args, context).await?;
    let parent = context.images()?.hold(&image)?;
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
    Ok((containers, container))
}

/// The image, from the store or a registry.
async fn image(args: &ContainerArgs, context: &Context) -> Result<Image, CommandError> {
    let name = args.image();
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
