//! `compose pause`, and what it has in common with `unpause`.

use std::process::ExitCode;

use plimsoll_container::{Container, ContainerError, Containers, Status};

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
    let is_meant: fn(Status) -> bool = |status| status == Status::Running;
    let words = ("Pausing", "Paused");
    let pause = async |containers: &Containers, container: &Container| containers.pause(container).await;
    change(&args.services, is_meant, words, pause, context).await
}

/// Freezes or thaws those containers of these services that are in such a state.
pub(super) async fn change(
    services: &[String],
    is_meant: fn(Status) -> bool,
    words: (&str, &str),
    work: impl AsyncFn(&Containers, &Container) -> Result<(), ContainerError>,
    context: &Context,
) -> Result<ExitCode, CommandError> {
    let scope = Scope::with_services(context, services)?;
    let display = display_as(context, "Running", None)?;
    let which = (services, Which::RUNNING, is_meant);
    let changed = signalled(context, &scope, which, words, display.progress(), work).await;
    display.finish();
    changed.map(|_| ExitCode::SUCCESS)
}
