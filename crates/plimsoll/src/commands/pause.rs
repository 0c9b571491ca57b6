//! `pause`, `container pause`

use std::process::ExitCode;

use super::containers::each;
use crate::command_error::CommandError;
use crate::context::Context;

/// Freeze all processes of running containers
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Containers, by name or id
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    each(context, &args.containers, async |containers, container| {
        Ok(containers.pause(container).await?)
    })
    .await
}
