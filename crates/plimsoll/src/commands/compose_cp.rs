//! `compose cp`

use std::process::ExitCode;

use super::compose::members::{Member, Which};
use super::compose::{Scope, display, told};
use super::containers::containers;
use super::cp::{self, End};
use crate::command_error::CommandError;
use crate::context::Context;

/// Copy files between the containers of a service and the host
///
/// To a service means to all its containers, from a service from its first one, unless `--index` says which.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Let copies on the host keep the owners they have in the container
    #[arg(short, long)]
    archive: bool,
    /// Copy what a link leads to, if the source is one
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// To containers of `run`, too
    #[arg(long)]
    all: bool,
    /// Number of the container, if the service has several
    #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
    index: u32,
    /// `SERVICE:PATH`, a path of the host, or `-`
    #[arg(value_name = "SOURCE")]
    source: String,
    /// `SERVICE:PATH`, a path of the host, or `-`
    #[arg(value_name = "DESTINATION")]
    destination: String,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let (service, to_service) = match (End::parse(&args.source), End::parse(&args.destination)) {
        (End::Container(service, _), End::Host(_)) => (service, false),
        (End::Host(_), End::Container(service, _)) => (service, true),
        (End::Container(..), End::Container(..)) => {
            return Err(CommandError::user("copying between services is not supported"));
        }
        (End::Host(_), End::Host(_)) => {
            return Err(CommandError::user("unknown copy direction")
                .hint("a path of a service is written SERVICE:PATH"));
        }
    };
    let members = members(&args, service, to_service, context)?;
    let display = display(context, "Copying")?;
    for member in &members {
        let name = member.container.name.as_str();
        let end = |text: &str| match End::parse(text) {
            End::Container(_, path) => format!("{name}:{path}"),
            End::Host(path) => path.to_owned(),
        };
        let (source, destination) = (end(&args.source), end(&args.destination));
        let id = told(context, format_args!("{name} copy {source} to {destination}"));
        if !context.compose().dry_run {
            display.progress().working(&id, "Copying");
            let request = cp::Args {
                archive: args.archive,
                follow_link: args.follow_link,
                quiet: true,
                source,
                destination,
            };
            cp::run(request, context).await?;
        }
        display.progress().ready(&id, "Copied");
    }
    Ok(ExitCode::SUCCESS)
}

fn members(
    args: &Args,
    service: &str,
    to_service: bool,
    context: &Context,
) -> Result<Vec<Member>, CommandError> {
    let scope = Scope::by_name(context)?;
    let containers = containers(context)?;
    let which = Which {
        stopped: true,
        one_off: args.all,
    };
    if args.index > 0 || !to_service {
        let member = scope.member(&containers, service, args.index, which)?;
        return Ok(vec![member]);
    }
    let members = scope.members(&containers, &[service.to_owned()], which)?;
    match members.is_empty() {
        true => Err(CommandError::user(format!(
            "no container found for service \"{service}\""
        ))),
        false => Ok(members),
    }
}
