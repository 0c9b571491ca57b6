//! `kill`, `container kill`

use std::process::ExitCode;

use plimsoll_container::{ContainerError, parse_signal};

use super::containers::each;
use crate::command_error::CommandError;
use crate::context::Context;

/// Send a signal to running containers
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Signal to send
    #[arg(short, long, default_value = "KILL")]
    signal: String,
    /// Containers, by name or id
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let signal = parse_signal(&args.signal)?;
    each(context, &args.containers, async |containers, container| {
        if !container.is_running() {
            return Err(ContainerError::NotRunning(container.name.clone()).into());
        }
        containers.kill(container, signal).await?;
        Ok(())
    })
    .await
}
