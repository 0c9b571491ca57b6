//! `manifest rm`

use std::process::ExitCode;

use plimsoll_oci::ImageRef;

use super::List;
use crate::command_error::CommandError;
use crate::context::Context;

/// Remove lists here; registries keep theirs
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Names of lists
    #[arg(value_name = "MANIFEST_LIST", required = true)]
    lists: Vec<ImageRef>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let mut code = ExitCode::SUCCESS;
    for name in &args.lists {
        let removed = List::get(context, name).and_then(|_| List::remove(context, name));
        if let Err(error) = removed {
            code = context.report(&error);
        }
    }
    Ok(code)
}
