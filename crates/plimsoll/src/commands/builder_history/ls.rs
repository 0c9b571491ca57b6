//! `builder history ls`, `buildx history ls`

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use plimsoll_build::record::{BuildStatus, BuildSummary, History};
use serde_json::{Value, json};

use super::{short_duration, status_word};
use crate::command_error::CommandError;
use crate::commands::asking::Filter;
use crate::context::Context;
use crate::output::{rows, units};

const TABLE: &str = "{{.Ref}}\t{{.Name}}\t{{.Status}}\t{{.CreatedAt}}\t{{.Duration}}";
const HEADERS: &[(&str, &str)] = &[
    ("Ref", "BUILD ID"),
    ("Name", "NAME"),
    ("Status", "STATUS"),
    ("CreatedAt", "CREATED AT"),
    ("Duration", "DURATION"),
];
/// buildx cuts the beginning of longer names.
const WIDTH: usize = 36;

/// List builds of the past
///
/// The last hundred builds are remembered, also those that failed.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Show only what fits: `status=running|completed|error|canceled`, `ref=`, `name=`; `!=` for what does not
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<Filter>,
    /// Print a table, `json`, or what a Go template says
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Show whole names
    #[arg(long)]
    no_trunc: bool,
    /// Print IDs only
    #[arg(short, long)]
    quiet: bool,
    /// Show only builds of this folder and those below it
    #[arg(long)]
    local: bool,
    /// Accepted for Docker's sake: there is one builder
    #[arg(long, hide = true, value_name = "NAME")]
    builder: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    for filter in &args.filters {
        if !["status", "ref", "name"].contains(&filter.key.as_str()) {
            return Err(filter.unknown(&["status", "ref", "name"]));
        }
    }
    let here = match args.local {
        true => Some(std::env::current_dir()?),
        false => None,
    };
    let mut builds = History::new(context.store()?).list()?;
    builds.retain(|build| {
        let local = here
            .as_ref()
            .is_none_or(|here| Path::new(&build.detail.context).starts_with(here));
        local && args.filters.iter().all(|filter| fits(build, filter))
    });
    // What goes on comes first.
    builds.sort_by_key(|build| build.finished.is_some());
    let mut out = context.stdout();
    if args.quiet && args.format.is_none() {
        builds
            .iter()
            .try_for_each(|build| writeln!(out, "{}", build.id))?;
        return Ok(ExitCode::SUCCESS);
    }
    let is_json = args.format.as_deref() == Some("json");
    let is_table = args
        .format
        .as_deref()
        .is_none_or(|format| format.starts_with("table"));
    let rows: Vec<Value> = builds
        .iter()
        .map(|build| {
            if is_json {
                object(build)
            } else {
                row(build, is_table && !args.no_trunc)
            }
        })
        .collect();
    rows::print(&mut out, args.format.as_deref(), TABLE, HEADERS, &rows)?;
    Ok(ExitCode::SUCCESS)
}

fn fits(build: &BuildSummary, filter: &Filter) -> bool {
    match filter.key.as_str() {
        "status" => filter.holds(&status_word(build.status).to_ascii_lowercase()),
        "name" => build.name.contains(&filter.value) != filter.negated,
        _ => build.id.contains(&filter.value) != filter.negated,
    }
}

/// buildx's JSON object.
fn object(build: &BuildSummary) -> Value {
    let mut object = json!({
        "ref": format!("default/default/{}", build.id),
        "name": build.name,
        "status": status_word(build.status),
        "created_at": build.started,
        "total_steps": build.detail.total_steps,
        "completed_steps": build.detail.completed_steps,
        "cached_steps": build.detail.cached_steps,
    });
    if let Some(finished) = build.finished {
        object["completed_at"] = json!(finished);
    }
    object
}

fn row(build: &BuildSummary, cut: bool) -> Value {
    let until = build.finished.unwrap_or_else(Timestamp::now);
    let duration = Duration::try_from(until.duration_since(build.started)).unwrap_or_default();
    let goes_on = if build.status == BuildStatus::Running {
        "+"
    } else {
        ""
    };
    json!({
        "Ref": build.id,
        "FullRef": format!("default/default/{}", build.id),
        "Name": if cut { shortened(&build.name) } else { build.name.clone() },
        "Status": status_word(build.status),
        "CreatedAt": units::ago(build.started),
        "Duration": short_duration(duration) + goes_on,
        "Link": "",
    })
}

fn shortened(name: &str) -> String {
    let length = name.chars().count();
    match length > WIDTH {
        true => format!("..{}", name.chars().skip(length - WIDTH + 2).collect::<String>()),
        false => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_lose_their_beginning() {
        assert_eq!(shortened("app (release)"), "app (release)");
        let long = shortened(&format!("{}/Dockerfile (release)", "x".repeat(60)));
        assert_eq!(long.len(), WIDTH);
        assert!(long.starts_with("..x") && long.ends_with("/Dockerfile (release)"));
    }
}
