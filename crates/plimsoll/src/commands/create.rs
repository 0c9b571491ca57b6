//! `create`, `container create`

use std::io::Write as _;
use std::process::ExitCode;

use super::container_options::ContainerArgs;
use crate::command_error::CommandError;
use crate::context::Context;

/// Make a container without starting it, and print its id
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    container: ContainerArgs,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let containers = super::containers::new_containers(context)?;
    let container = super::run::create(&args.container, None, false, &containers, context).await?;
    writeln!(context.stdout(), "{}", container.id())?;
    Ok(ExitCode::SUCCESS)
}
