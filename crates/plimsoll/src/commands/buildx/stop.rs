//! `buildx stop`

use std::process::ExitCode;

use super::check;
use crate::command_error::CommandError;
use crate::context::Context;

/// Accepted for the sake of scripts: the builder has no process that could be stopped
#[derive(clap::Args)]
pub(crate) struct Args {
    /// `default`
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

pub(crate) async fn run(args: Args, _context: &Context) -> Result<ExitCode, CommandError> {
    check(args.name.as_deref())?;
    Ok(ExitCode::SUCCESS)
}
