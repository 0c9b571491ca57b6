//! `buildx inspect`

use std::io::Write as _;
use std::process::ExitCode;

use super::{DRIVER, NAME, check, platforms, version};
use crate::command_error::CommandError;
use crate::context::Context;

/// Show what the builder is and which platforms it builds for
#[derive(clap::Args)]
pub(crate) struct Args {
    /// `default`
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Accepted for Docker's sake: there is nothing to start
    #[arg(long)]
    bootstrap: bool,
    /// Accepted for Docker's sake
    #[arg(long, hide = true, value_name = "NAME")]
    builder: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    check(args.name.as_deref().or(args.builder.as_deref()))?;
    let mut out = context.stdout();
    writeln!(out, "Name:   {NAME}\nDriver: {DRIVER}\n\nNodes:")?;
    let lines = [
        ("Name:", NAME.to_owned()),
        ("Endpoint:", NAME.to_owned()),
        ("Status:", "running".to_owned()),
        ("BuildKit version:", version()),
        ("Platforms:", platforms().join(", ")),
    ];
    for (name, value) in lines {
        writeln!(out, "{name:<17} {value}")?;
    }
    Ok(ExitCode::SUCCESS)
}
