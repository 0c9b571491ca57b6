//! `buildx ls`

use std::io::Write as _;
use std::process::ExitCode;

use serde_json::json;

use super::{DRIVER, NAME, platforms, version};
use crate::command_error::CommandError;
use crate::context::Context;
use crate::output::template::Template;

/// List builders: there is one
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print a table, `json`, or what a Go template says
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Accepted for Docker's sake
    #[arg(long, hide = true)]
    no_trunc: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let (version, platforms) = (version(), platforms());
    let mut out = context.stdout();
    let builder = json!({
        "Name": NAME,
        "Driver": DRIVER,
        "Dynamic": false,
        "Current": true,
        "Nodes": [{
            "Name": NAME,
            "Endpoint": NAME,
            "Status": "running",
            "Version": version,
            "Platforms": platforms,
        }],
    });
    match args.format.as_deref().filter(|format| *format != "table") {
        Some("json") => writeln!(out, "{builder}")?,
        Some(format) => {
            let template = Template::parse(format).map_err(|error| CommandError::usage(error.to_string()))?;
            let text = template
                .render(&builder)
                .map_err(|error| CommandError::user(error.to_string()))?;
            writeln!(out, "{text}")?;
        }
        None => {
            let mut row = |cells: [&str; 5]| -> std::io::Result<()> {
                let [name, driver, status, version, platforms] = cells;
                let line = format!("{name:<14}{driver:<18}{status:<10}{version:<11}{platforms}");
                writeln!(out, "{}", line.trim_end())
            };
            row(["NAME/NODE", "DRIVER/ENDPOINT", "STATUS", "BUILDKIT", "PLATFORMS"])?;
            row([&format!("{NAME}*"), DRIVER, "", "", ""])?;
            let (node, endpoint) = (format!(" \\_ {NAME}"), format!(" \\_ {NAME}"));
            row([&node, &endpoint, "running", &version, &platforms.join(", ")])?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
