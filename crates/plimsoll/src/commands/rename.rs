//! `rename`, `container rename`

use std::process::ExitCode;

use super::containers::containers;
use crate::command_error::CommandError;
use crate::context::Context;

/// Give a container another name
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Container, by name or id
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// Its new name
    #[arg(value_name = "NEW_NAME")]
    name: String,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let containers = containers(context)?;
    let container = containers.get(&args.container)?;
    containers.rename(&container, &args.name).await?;
    Ok(ExitCode::SUCCESS)
}
