//! `compose unpause`

use std::process::ExitCode;

use plimsoll_container::{Container, Containers, Status};

use super::compose_pause::change;
use crate::command_error::CommandError;
use crate::context::Context;

/// Let the processes of frozen containers go on
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Services [default: all]
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let is_meant: fn(Status) -> bool = |status| status == Status::Paused;
    let words = ("Unpausing", "Unpaused");
    let unpause = async |containers: &Containers, container: &Container| containers.unpause(container).await;
    change(&args.services, is_meant, words, unpause, context).await
}
