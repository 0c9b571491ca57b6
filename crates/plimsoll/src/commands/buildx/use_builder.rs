//! `buildx use`

use std::process::ExitCode;

use super::check;
use crate::command_error::CommandError;
use crate::context::Context;

/// Accepted for the sake of scripts: the one builder is in use
#[derive(clap::Args)]
pub(crate) struct Args {
    /// `default`
    #[arg(value_name = "NAME")]
    name: String,
    /// Accepted for Docker's sake
    #[arg(long, hide = true)]
    default: bool,
    /// Accepted for Docker's sake
    #[arg(long, hide = true)]
    global: bool,
}

pub(crate) async fn run(args: Args, _context: &Context) -> Result<ExitCode, CommandError> {
    check(Some(&args.name))?;
    Ok(ExitCode::SUCCESS)
}
