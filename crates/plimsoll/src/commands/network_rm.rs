//! `network rm`

use std::io::Write as _;
use std::process::ExitCode;

use plimsoll_container::ContainerError;
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
    let remove = |name: &str| -> Result<(), ContainerError> {
        let info = networks.get(name)?;
        containers.leave_ended(&info)?;
        networks.remove(&info)?;
        super::network_ls::event(store, "destroy", &info.id, &info.name);
        Ok(())
    };
    let mut code = ExitCode::SUCCESS;
    for name in &args.names {
        match remove(name) {
            Ok(()) => writeln!(context.stdout(), "{name}")?,
            Err(ContainerError::Network(NetworkError::NotFound { .. })) if args.force => {}
            Err(error) => {
                let _ = context.report(&error.into());
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}
