//! `compose volumes`

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::ExitCode;

use plimsoll_compose::labels::PROJECT;
use plimsoll_container::Volume;
use serde_json::Value;

use super::compose::Scope;
use super::compose::members::Which;
use super::containers::containers;
use super::volume_ls::{HEADERS, TABLE, row};
use crate::command_error::CommandError;
use crate::context::Context;
use crate::output::rows;

/// List the volumes of a project
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print names only
    #[arg(short, long)]
    quiet: bool,
    /// `table`, `json`, or a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Those of these services [default: all]
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let scope = Scope::with_services(context, &args.services)?;
    let containers = containers(context)?;
    let members = scope.members(&containers, &args.services, Which::ALL)?;
    let mounts = members
        .iter()
        .flat_map(|member| &member.container.definition.mounts);
    let used: BTreeSet<&str> = mounts.filter_map(|mount| mount.volume.as_deref()).collect();
    let volumes: Vec<Volume> = containers
        .volumes()?
        .into_iter()
        .filter(|volume| volume.options.labels.get(PROJECT) == Some(&scope.name))
        .filter(|volume| args.services.is_empty() || used.contains(volume.name.as_str()))
        .collect();
    let mut out = context.stdout();
    if args.quiet {
        for volume in volumes {
            writeln!(out, "{}", volume.name)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<Value> = volumes.iter().map(row).collect();
    rows::print(&mut out, args.format.as_deref(), TABLE, HEADERS, &rows)?;
    Ok(ExitCode::SUCCESS)
}
