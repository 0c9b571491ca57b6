//! `volume ls`

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;

use plimsoll_container::Volume;
use serde_json::{Value, json};

use super::asking::Filter;
use super::containers::containers;
use crate::command_error::CommandError;
use crate::context::Context;
use crate::output::rows;

/// List volumes
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print names only
    #[arg(short, long)]
    quiet: bool,
    /// Show those that fit: `dangling=true` (no container has it), `driver=`, `label=KEY[=VALUE]`, `name=`
    #[arg(short, long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<Filter>,
    /// `table`, `json`, or a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

pub(super) const TABLE: &str = "{{.Driver}}\t{{.Name}}";
pub(super) const HEADERS: &[(&str, &str)] = &[
    ("Name", "VOLUME NAME"),
    ("Driver", "DRIVER"),
    ("Scope", "SCOPE"),
    ("Mountpoint", "MOUNTPOINT"),
    ("Labels", "LABELS"),
    ("Links", "LINKS"),
    ("Size", "SIZE"),
];

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let known = ["dangling", "driver", "label", "name"];
    if let Some(filter) = args
        .filters
        .iter()
        .find(|filter| !known.contains(&filter.key.as_str()))
    {
        return Err(filter.unknown(&known));
    }
    let mut volumes = containers(context)?.volumes()?;
    volumes.retain(|volume| args.filters.iter().all(|filter| passes(filter, volume)));
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

fn passes(filter: &Filter, volume: &Volume) -> bool {
    match filter.key.as_str() {
        "dangling" => filter.holds_bool(volume.links == 0),
        "driver" => filter.holds("local"),
        "label" => filter.holds_among(&volume.options.labels),
        _ => volume.name.contains(&filter.value) != filter.negated,
    }
}

/// What `volume ls --format json` prints; sizes and links only `system df -v` measures.
pub(super) fn row(volume: &Volume) -> Value {
    json!({
        "Availability": "N/A",
        "Driver": "local",
        "Group": "N/A",
        "Labels": joined(&volume.options.labels),
        "Links": "N/A",
        "Mountpoint": volume.mountpoint,
        "Name": volume.name,
        "Scope": "local",
        "Size": "N/A",
        "Status": "N/A",
    })
}

fn joined(labels: &BTreeMap<String, String>) -> String {
    let labels: Vec<_> = labels
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    labels.join(",")
}
