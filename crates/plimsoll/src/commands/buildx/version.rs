//! `buildx version`

use std::io::Write as _;
use std::process::ExitCode;

use super::version;
use crate::command_error::CommandError;
use crate::context::Context;

/// Print the version
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(_args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    writeln!(context.stdout(), "plimsoll/buildx {}", version())?;
    Ok(ExitCode::SUCCESS)
}
