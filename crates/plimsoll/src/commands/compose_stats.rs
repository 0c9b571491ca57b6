//! `compose stats`

use std::process::ExitCode;

use super::compose::Scope;
use super::compose::members::Which;
use super::containers::containers;
use super::interruptible;
use super::stats::{Form, show};
use crate::command_error::CommandError;
use crate::context::Context;

/// Show what the containers of a project use
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Show those that do not run, too
    #[arg(short, long)]
    all: bool,
    /// Print once instead of every second
    #[arg(long)]
    no_stream: bool,
    /// Show whole ids
    #[arg(long)]
    no_trunc: bool,
    /// `table`, `json`, or a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Services [default: all]
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let scope = Scope::with_services(context, &args.services)?;
    let containers = containers(context)?;
    let which = Which {
        stopped: args.all,
        one_off: true,
    };
    let form = Form {
        no_stream: args.no_stream,
        no_trunc: args.no_trunc,
        format: args.format.clone(),
    };
    let choose = || {
        let members = scope.members(&containers, &args.services, which)?.into_iter();
        let chosen = members.map(|member| (member.container.id().to_owned(), member.container));
        Ok(chosen.collect())
    };
    interruptible(show(context, &form, choose)).await
}
