//! `compose unpause`

use std::process::ExitCode;

use plimsoll_container::Status;

use super::compose::converging::signalled;
use super::compose::members::Which;
use super::compose::{Scope, display_as};
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
    let scope = Scope::with_services(context, &args.services)?;
    let display = display_as(context, "Running", None)?;
    let words = ("Unpausing", "Unpaused");
    let is_meant: fn(Status) -> bool = |status| status == Status::Paused;
    let which = (args.services.as_slice(), Which::RUNNING, is_meant);
    let done = signalled(
        context,
        &scope,
        which,
        words,
        display.progress(),
        async |containers, container| containers.unpause(container).await,
    );
    let done = done.await;
    display.finish();
    done.map(|_| ExitCode::SUCCESS)
}
