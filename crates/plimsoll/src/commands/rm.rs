//! `rm`, `container rm`

use std::io::Write as _;
use std::process::ExitCode;

use plimsoll_container::{Container, ContainerError, Containers};

use super::containers::containers;
use crate::command_error::CommandError;
use crate::context::Context;

/// Remove containers
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Kill them first if they run; one that is not there is no failure
    #[arg(short, long)]
    force: bool,
    /// Remove their anonymous volumes, too
    #[arg(short, long)]
    volumes: bool,
    /// Containers, by name or id
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let containers = containers(context)?;
    let mut code = ExitCode::SUCCESS;
    for name in &args.containers {
        match remove(&args, &containers, name).await {
            Ok(()) => writeln!(context.stdout(), "{name}")?,
            Err(error) => {
                let missing = matches!(error, ContainerError::NotFound { .. });
                let _ = context.report(&error.into());
                if !(missing && args.force) {
                    code = ExitCode::FAILURE;
                }
            }
        }
    }
    Ok(code)
}

async fn remove(args: &Args, containers: &Containers, name: &str) -> Result<(), ContainerError> {
    let container: Container = containers.get(name)?;
    match args.force {
        true => containers.remove_by_force(&container, args.volumes).await,
        false => containers.remove(&container, args.volumes),
    }
}
