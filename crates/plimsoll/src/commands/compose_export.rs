//! `compose export`

use std::path::PathBuf;
use std::process::ExitCode;

use super::compose::members::Which;
use super::compose::{Scope, display, told};
use super::containers::containers;
use super::export;
use crate::command_error::CommandError;
use crate::context::Context;

/// Write the files of a service's container as a tar archive
#[derive(clap::Args)]
pub(crate) struct Args {
    /// File to write [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Number of the container, if the service has several
    #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
    index: u32,
    /// Service
    #[arg(value_name = "SERVICE")]
    service: String,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let scope = Scope::by_name(context)?;
    let member = scope.member(&containers(context)?, &args.service, args.index, Which::SERVICES)?;
    let name = &member.container.name;
    let display = display(context, "Exporting")?;
    let place = args
        .output
        .as_ref()
        .map_or("-".into(), |path| path.to_string_lossy());
    let id = told(context, format_args!("{name} export {name} to {place}"));
    if context.compose().dry_run {
        display.progress().ready(&id, "Exported");
        return Ok(ExitCode::SUCCESS);
    }
    display.progress().working(&id, "Exporting");
    let request = export::Args {
        output: args.output.clone(),
        container: member.container.id().to_owned(),
    };
    let code = export::run(request, context).await?;
    display.progress().ready(&id, "Exported");
    Ok(code)
}
