//! `compose pause`

use std::process::ExitCode;

use plimsoll_container::Status;

use super::compose::converging::signalled;
use super::compose::members::Which;
use super::compose::{Scope, display_as};
use crate::command_error::CommandError;
use crate::context::Context;

/// Freeze the processes of containers
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Services [default: all]
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let scope = Scope::with_services(context, &args.services)?;
    let display = display_as(context, "Running", None)?;
    let words = ("Pausing", "Paused");
    let is_meant: fn(Status) -> bool = |status| status == Status::Running;
    let which = (args.services.as_slice(), Which::RUNNING, is_meant);
    let paused = signalled(
        context,
        &scope,
        which,
        words,
        display.progress(),
        async |containers, container| containers.pause(container).await,
    );
    let paused = paused.await;
    display.finish();
    paused.map(|_| ExitCode::SUCCESS)
}
