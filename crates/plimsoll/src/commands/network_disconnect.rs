//! `network disconnect`

use std::process::ExitCode;

use plimsoll_container::ContainerError;
use plimsoll_network::Networks;

use super::containers::containers;
use crate::command_error::CommandError;
use crate::context::Context;

/// Disconnect a container from a network
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Forget the connection of a container that is no more, too
    #[arg(short, long)]
    force: bool,
    /// Network, by name or id
    #[arg(value_name = "NETWORK")]
    network: String,
    /// Container, by name or id
    #[arg(value_name = "CONTAINER")]
    container: String,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let containers = containers(context)?;
    match containers.get(&args.container) {
        Ok(container) => containers.disconnect(&container, &args.network).await?,
        Err(ContainerError::NotFound { .. }) if args.force => {
            let networks = Networks::new(context.store()?);
            networks.detach(&args.container, &args.container, &networks.get(&args.network)?)?;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(ExitCode::SUCCESS)
}
