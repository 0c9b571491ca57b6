//! `restart`, `container restart`

use std::process::ExitCode;

use super::containers::each;
use super::stop::Patience;
use crate::command_error::CommandError;
use crate::context::Context;

/// Stop containers and start them again
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    patience: Patience,
    /// Containers, by name or id
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    each(context, &args.containers, async |containers, container| {
        args.patience.stop_for_restart(containers, container).await?;
        let stopped = containers.get(container.id())?;
        containers.start(&stopped, false).await?;
        containers.restarted(&stopped);
        Ok(())
    })
    .await
}
