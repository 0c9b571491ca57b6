//! `system restore`

use std::io::Write as _;
use std::process::ExitCode;

use super::containers::containers;
use crate::command_error::CommandError;
use crate::context::Context;

/// Bring back what should run after a boot or a crash
///
/// Clears away what processes that were killed left behind, and starts containers by their restart policies: `always`; `unless-stopped`
/// unless it was stopped; `on-failure` if it was running. They keep their addresses and published ports. Prints the names of
/// those it has started, and ends with 1 when one cannot be.
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(_: Args, context: &Context) -> Result<ExitCode, CommandError> {
    if !context.root().join("layout-version").exists() {
        return Ok(ExitCode::SUCCESS);
    }
    let restored = containers(context)?.restore().await?;
    for container in &restored.started {
        writeln!(context.stdout(), "{}", container.name)?;
    }
    let code = match restored.failed.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    };
    for (container, error) in restored.failed {
        let error = CommandError::from(error).during(format!("cannot start `{}`", container.name));
        let _ = context.report(&error);
    }
    Ok(code)
}
