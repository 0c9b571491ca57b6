//! `wait`, `container wait`

use std::io::Write as _;
use std::process::ExitCode;

use super::containers::containers;
use crate::command_error::CommandError;
use crate::context::Context;

/// Wait until containers have ended, and print their exit codes
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Containers, by name or id
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let containers = containers(context)?;
    for name in &args.containers {
        let container = containers.get(name)?;
        let ended = containers.wait(&container).await?;
        writeln!(context.stdout(), "{}", ended.exit_code)?;
    }
    Ok(ExitCode::SUCCESS)
}
