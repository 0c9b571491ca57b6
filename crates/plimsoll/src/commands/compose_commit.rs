//! `compose commit`

use std::process::ExitCode;

use plimsoll_oci::ImageRef;

use super::commit;
use super::compose::members::Which;
use super::compose::{Scope, display, told};
use super::containers::containers;
use crate::command_error::CommandError;
use crate::context::Context;

/// Make an image of what a service's container has become
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Who made it
    #[arg(short, long, value_name = "NAME")]
    author: Option<String>,
    /// What for
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Change the configuration with an instruction of a Dockerfile
    #[arg(short, long = "change", value_name = "INSTRUCTION")]
    changes: Vec<String>,
    /// Pause the container meanwhile
    #[arg(short, long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pause: bool,
    /// Number of the container, if the service has several
    #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
    index: u32,
    /// Service
    #[arg(value_name = "SERVICE")]
    service: String,
    /// Name of the image
    #[arg(value_name = "NAME[:TAG]")]
    name: Option<ImageRef>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let scope = Scope::by_name(context)?;
    let containers = containers(context)?;
    let member = scope.member(&containers, &args.service, args.index, Which::SERVICES)?;
    let container = &member.container;
    let name = &container.name;
    let id = told(context, format_args!("{name} Commit {name}"));
    let display = display(context, "Committing")?;
    display.progress().working(&id, "Committing");
    if context.compose().dry_run {
        display.progress().ready(&id, "Committed");
        return Ok(ExitCode::SUCCESS);
    }
    let pauses = args.pause && container.state.status == plimsoll_container::Status::Running;
    if pauses {
        containers.pause(container).await?;
    }
    let request = commit::Args {
        author: args.author,
        message: args.message,
        changes: args.changes,
        container: container.id().to_owned(),
        name: args.name,
    };
    let made = commit::make(request, context);
    if pauses {
        containers.unpause(container).await?;
    }
    display.progress().ready(&id, &format!("Committed as {}", made?));
    Ok(ExitCode::SUCCESS)
}
