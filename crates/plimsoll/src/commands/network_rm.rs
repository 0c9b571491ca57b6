//! `network rm`

use std::io::Write as _;
use std::process::ExitCode;

use plimsoll_network::{NetworkError, Networks};

use super::containers::containers;
use crate::command_error::CommandError;
use crate::context::Context;

/// Remove networks
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Do not mind when one is not there
    #[arg(short, long)]
    force: bool,
    /// Networks, by name or id
    #[arg(required = true, value_name = "NETWORK")]
    names: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let store = context.store()?;
    let (networks, containers) = (Networks::new(store), containers(context)?);
    let mut code = ExitCode::SUCCESS;
    for name in &args.names {
        let found = networks.get(name);
        if let Ok(info) = &found {
            containers.leave_ended(info)?;
        }
        let removed = found.and_then(|info| {
            networks.remove(&info)?;
            super::network_ls::event(store, "destroy", &info.id, &info.name);
            Ok(())
        });
        match removed {
            Ok(()) => writeln!(context.stdout(), "{name}")?,
            Err(NetworkError::NotFound { .. }) if args.force => {}
            Err(error) => {
                let _ = context.report(&error.into());
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}
