//! `buildx rm`

use std::process::ExitCode;

use super::{NAME, check};
use crate::command_error::CommandError;
use crate::context::Context;

/// Accepted for the sake of scripts: the one builder cannot be removed
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Names of builders
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Accepted for Docker's sake: no builder is inactive
    #[arg(long)]
    all_inactive: bool,
    /// Accepted for Docker's sake
    #[arg(short, long)]
    force: bool,
    /// Accepted for Docker's sake
    #[arg(long, hide = true)]
    keep_state: bool,
    /// Accepted for Docker's sake
    #[arg(long, hide = true)]
    keep_daemon: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    if args.all_inactive {
        return Ok(ExitCode::SUCCESS);
    }
    let mut code = ExitCode::SUCCESS;
    let default = [NAME.to_owned()];
    let names = if args.names.is_empty() {
        &default[..]
    } else {
        &args.names
    };
    for name in names {
        let error = check(Some(name)).err().unwrap_or_else(|| {
            CommandError::user(format!("builder `{NAME}` cannot be removed"))
                .hint("`plimsoll builder prune` removes its cache")
        });
        code = context.report(&error);
    }
    Ok(code)
}
