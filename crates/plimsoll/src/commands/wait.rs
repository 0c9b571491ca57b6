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
    let mut code = ExitCode::SUCCESS;
    for name in &args.containers {
        let ended = async { containers.wait(&containers.get(name)?).await };
        match ended.await {
            Ok(ended) => writeln!(context.stdout(), "{}", ended.exit_code)?,
            Err(error) => {
                let _ = context.report(&error.into());
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}
