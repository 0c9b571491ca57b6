//! `stop`, `container stop`

use std::process::ExitCode;

use plimsoll_container::parse_signal;

use super::containers::each;
use crate::command_error::CommandError;
use crate::context::Context;

/// Stop running containers: a signal, some time, then SIGKILL
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    patience: Patience,
    /// Containers, by name or id
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// How to ask a container to end, and how long to wait.
#[derive(clap::Args)]
pub(crate) struct Patience {
    /// Signal to send first [default: the container's stop signal]
    #[arg(short, long)]
    signal: Option<String>,
    /// Seconds to wait before it is killed; -1 for ever [default: the container's, 10 otherwise]
    #[arg(
        short,
        long,
        visible_alias = "timeout",
        value_name = "SECONDS",
        allow_negative_numbers = true
    )]
    time: Option<i64>,
}

impl Patience {
    /// Stops one container.
    pub(crate) async fn stop(
        &self,
        containers: &plimsoll_container::Containers,
        container: &plimsoll_container::Container,
    ) -> Result<(), CommandError> {
        let signal = self.signal.as_deref().map(parse_signal).transpose()?;
        containers.stop(container, signal, self.time).await?;
        Ok(containers.settle(container).await?)
    }

    /// Stops one container that is about to be started again.
    pub(crate) async fn stop_for_restart(
        &self,
        containers: &plimsoll_container::Containers,
        container: &plimsoll_container::Container,
    ) -> Result<(), CommandError> {
        let signal = self.signal.as_deref().map(parse_signal).transpose()?;
        containers.stop_for_restart(container, signal, self.time).await?;
        Ok(containers.settle(container).await?)
    }
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    each(context, &args.containers, async |containers, container| {
        args.patience.stop(containers, container).await
    })
    .await
}
