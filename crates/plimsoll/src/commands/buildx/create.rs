//! `buildx create`

use std::io::Write as _;
use std::process::ExitCode;

use super::{NAME, nothing_to_do};
use crate::command_error::CommandError;
use crate::context::Context;

/// Accepted for the sake of scripts: the one builder can do what others are made for
///
/// Docker makes a builder in a container for several platforms, other exporters and caches. Here `default` does all of
/// it, so nothing is made, and its name is printed.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Accepted for Docker's sake
    #[arg(value_name = "CONTEXT|ENDPOINT")]
    endpoint: Option<String>,
    /// Accepted for Docker's sake
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Accepted for Docker's sake
    #[arg(long, hide = true, value_name = "DRIVER")]
    driver: Option<String>,
    /// Accepted for Docker's sake
    #[arg(long, hide = true, value_name = "KEY=VALUE")]
    driver_opt: Vec<String>,
    /// Accepted for Docker's sake
    #[arg(long, hide = true, value_name = "NAME")]
    node: Option<String>,
    /// Accepted for Docker's sake
    #[arg(long, hide = true, value_name = "PLATFORM")]
    platform: Vec<String>,
    /// Accepted for Docker's sake
    #[arg(
        long,
        hide = true,
        value_name = "FLAGS",
        alias = "buildkitd-flags",
        allow_hyphen_values = true
    )]
    flags: Option<String>,
    /// Accepted for Docker's sake
    #[arg(long, hide = true, value_name = "FILE", alias = "buildkitd-config")]
    config: Option<String>,
    /// Accepted for Docker's sake
    #[arg(long, hide = true)]
    append: bool,
    /// Accepted for Docker's sake
    #[arg(long, hide = true)]
    leave: bool,
    /// Accepted for Docker's sake: there is nothing to start
    #[arg(long)]
    bootstrap: bool,
    /// Accepted for Docker's sake: it is in use
    #[arg(long = "use")]
    use_it: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let code = match args.name.as_deref() {
        Some(name) if name != NAME => nothing_to_do(
            context,
            &format!("no builder `{name}` is made: `{NAME}` does all that it could"),
        ),
        _ => ExitCode::SUCCESS,
    };
    writeln!(context.stdout(), "{NAME}")?;
    Ok(code)
}
