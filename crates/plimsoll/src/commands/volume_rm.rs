//! `volume rm`

use std::io::Write as _;
use std::process::ExitCode;

use plimsoll_container::ContainerError;

use super::containers::containers;
use crate::command_error::CommandError;
use crate::context::Context;

/// Remove volumes that no container has
#[derive(clap::Args)]
pub(crate) struct Args {
    /// One that is not there is no failure
    #[arg(short, long)]
    force: bool,
    /// Volumes, by name
    #[arg(required = true, value_name = "VOLUME")]
    volumes: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let containers = containers(context)?;
    let mut code = ExitCode::SUCCESS;
    for name in &args.volumes {
        match containers.remove_volume(name) {
            Err(ContainerError::NoVolume(_)) if args.force => writeln!(context.stdout(), "{name}")?,
            Ok(()) => writeln!(context.stdout(), "{name}")?,
            Err(error) => {
                let _ = context.report(&error.into());
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}
