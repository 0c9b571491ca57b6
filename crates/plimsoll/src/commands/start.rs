//! `start`, `container start`

use std::process::ExitCode;

use super::containers::{containers, each};
use super::session::{self, Session};
use super::terminal;
use crate::command_error::CommandError;
use crate::context::Context;

/// Start containers that are stopped
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Show the output of the container and wait for its end
    #[arg(short, long)]
    attach: bool,
    /// Pass standard input on
    #[arg(short, long)]
    interactive: bool,
    /// Keys that leave the container running in the background
    #[arg(long, value_name = "KEYS", default_value = super::terminal::DETACH_KEYS)]
    detach_keys: String,
    /// Containers, by name or id
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    if !args.attach && !args.interactive {
        return each(context, &args.containers, async |containers, container| {
            containers.start(container, false).await?;
            Ok(())
        })
        .await;
    }
    let [name] = args.containers.as_slice() else {
        return Err(CommandError::user(
            "you cannot start and attach multiple containers at once",
        ));
    };
    let containers = containers(context)?;
    let container = containers.get(name)?;
    let tty = container.definition.spec.tty;
    terminal::check_input(args.interactive, tty)?;
    let session = Session::new(args.interactive, tty, true, &args.detach_keys)?;
    let mut attachment = match containers.start(&container, true).await? {
        Some(attachment) => attachment,
        None => containers.attach(&container).await?,
    };
    let outcome = session.run(&mut attachment, &containers, &container).await?;
    Ok(session::exit_code(context, &container, &outcome))
}
