//! `compose version`

use std::io::Write as _;
use std::process::ExitCode;

use super::compose;
use crate::command_error::CommandError;
use crate::context::Context;

/// Print the version
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only the number: that of the Docker Compose whose behaviour this is
    #[arg(long)]
    short: bool,
    /// `pretty` or `json`
    #[arg(short, long, value_name = "FORMAT", value_parser = ["pretty", "json"])]
    format: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let mut out = context.stdout();
    match args.format.as_deref() {
        _ if args.short => writeln!(out, "{}", compose::VERSION)?,
        Some("json") => writeln!(out, "{}", serde_json::json!({ "version": compose::VERSION }))?,
        _ => compose::print_version(&mut out)?,
    }
    Ok(ExitCode::SUCCESS)
}
