//! `builder history explain`, `buildx history explain`

use std::io::Write;
use std::process::ExitCode;

use plimsoll_build::explain::{Explanation, explain};

use super::Reference;
use crate::command_error::CommandError;
use crate::context::Context;

/// Say why the steps of a build ran
///
/// Compares each step that ran with the same step of the nearest earlier build of the same Dockerfile and context, and
/// names what changed: files, arguments, base images, mounts, steps before it.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    reference: Reference,
    /// Print `text` or `json`
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = ["text", "json"])]
    format: String,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let (history, record) = args.reference.load(context)?;
    let explanation = explain(&history, &record)?;
    let mut out = context.stdout();
    match args.format.as_str() {
        "json" => writeln!(out, "{}", json(&explanation))?,
        _ => write!(out, "{explanation}")?,
    }
    Ok(ExitCode::SUCCESS)
}

/// One object on one line.
pub(crate) fn json(explanation: &Explanation) -> String {
    serde_json::to_string(explanation).expect("plain data")
}
