//! `version`

use std::io::Write as _;
use std::process::ExitCode;

use serde_json::json;

use crate::command_error::CommandError;
use crate::context::Context;
use crate::output::template::Template;

/// Show the version of Plimsoll
///
/// There is no daemon: client and server are the same binary, and both fields of Docker's answer are filled.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print `json` or what a Go template says, such as `{{.Client.Version}}`
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let version = env!("CARGO_PKG_VERSION");
    let part =
        json!({"Version": version, "Os": std::env::consts::OS, "Arch": go_arch(), "Experimental": false});
    let value = json!({"Client": part, "Server": part});
    let mut out = context.stdout();
    match args.format.as_deref() {
        None => writeln!(
            out,
            "{}\nOS/Arch: {}/{}",
            crate::VERSION,
            std::env::consts::OS,
            go_arch()
        )?,
        Some("json") => writeln!(out, "{value}")?,
        Some(text) => writeln!(out, "{}", Template::parse(text)?.render(&value)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn go_arch() -> String {
    plimsoll_oci::Platform::host().architecture
}
