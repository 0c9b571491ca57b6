//! `compose attach`

use std::process::ExitCode;

use super::attach;
use super::compose::Scope;
use super::compose::members::Which;
use super::containers::containers;
use crate::command_error::CommandError;
use crate::context::Context;

/// Show the output of a service's container from now on, and pass input and signals on
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Keys that leave the container running
    #[arg(long, value_name = "KEYS", default_value = super::terminal::DETACH_KEYS)]
    detach_keys: String,
    /// Number of the container, if the service has several
    #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
    index: u32,
    /// Do not pass standard input on
    #[arg(long)]
    no_stdin: bool,
    /// Pass signals on to the container
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    sig_proxy: bool,
    /// Service
    #[arg(value_name = "SERVICE")]
    service: String,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let scope = Scope::by_name(context)?;
    let member = scope.member(&containers(context)?, &args.service, args.index, Which::RUNNING)?;
    let request = attach::Args {
        detach_keys: args.detach_keys,
        no_stdin: args.no_stdin,
        sig_proxy: args.sig_proxy,
        container: member.container.id().to_owned(),
    };
    attach::run(request, context).await
}
