//! `container inspect`

use std::process::ExitCode;

use super::inspect::{Output, container};
use crate::command_error::CommandError;
use crate::context::Context;

/// Show everything about containers
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    output: Output,
    /// Containers, by name or id
    #[arg(required = true, value_name = "CONTAINER")]
    names: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    args.output
        .print(context, &args.names, |name| container(context, name))
}
