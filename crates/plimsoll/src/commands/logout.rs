//! `logout`

use std::io::Write as _;
use std::process::ExitCode;

use plimsoll_registry::{Logins, registry_of};

use crate::command_error::CommandError;
use crate::context::Context;

/// Forget the credentials for a registry
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Registry to log out of [default: Docker Hub]
    #[arg(value_name = "SERVER")]
    server: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let registry = args.server.as_deref().map_or("docker.io", registry_of);
    let shown = match registry {
        "docker.io" => "https://index.docker.io/v1/",
        other => other,
    };
    let known = Logins::new(&context.docker_config()?).forget(registry)?;
    match known {
        true => writeln!(context.stdout(), "Removing login credentials for {shown}")?,
        false => writeln!(context.stdout(), "Not logged in to {shown}")?,
    }
    Ok(ExitCode::SUCCESS)
}
