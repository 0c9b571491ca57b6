//! `compose ls`

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::ExitCode;

use plimsoll_compose::labels::{CONFIG_FILES, PROJECT};
use plimsoll_container::Container;
use serde_json::{Value, json};

use super::containers::containers;
use crate::command_error::CommandError;
use crate::context::Context;
use crate::output::table;

/// List projects
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Show those of which nothing runs, too
    #[arg(short, long)]
    all: bool,
    /// Print names only
    #[arg(short, long)]
    quiet: bool,
    /// Show those that fit: `name=`
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// `table` or `json`
    #[arg(long, value_name = "FORMAT", value_parser = ["table", "json", "pretty"])]
    format: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let patterns = patterns(&args.filter)?;
    let containers = containers(context)?;
    let mut projects: BTreeMap<String, Vec<Container>> = BTreeMap::new();
    for container in containers.list()? {
        containers.revive(&container)?;
        if let Some(name) = container.definition.labels.get(PROJECT)
            && (args.all || container.is_running())
            && (patterns.is_empty() || patterns.iter().any(|pattern| fits(name, pattern)))
        {
            projects.entry(name.clone()).or_default().push(container);
        }
    }
    let mut out = context.stdout();
    if args.quiet {
        for name in projects.keys() {
            writeln!(out, "{name}")?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<(&str, String, String)> = projects
        .iter()
        .map(|(name, containers)| (name.as_str(), states(containers), files(containers)))
        .collect();
    if args.format.as_deref() == Some("json") {
        let row = |(name, status, files): &(&str, String, String)| json!({ "Name": name, "Status": status, "ConfigFiles": files });
        writeln!(out, "{}", rows.iter().map(row).collect::<Value>())?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = "NAME\tSTATUS\tCONFIG FILES".to_owned();
    for (name, status, files) in &rows {
        text.push_str(&format!("\n{name}\t{status}\t{files}"));
    }
    out.write_all(table::align_with(&text, 20, 3).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn patterns(filters: &[String]) -> Result<Vec<&str>, CommandError> {
    filters.iter().map(|filter| pattern(filter)).collect()
}

fn pattern(filter: &str) -> Result<&str, CommandError> {
    match filter.split_once('=') {
        Some(("name", pattern)) => Ok(pattern),
        found => {
            let key = found.map_or(filter, |(key, _)| key);
            Err(CommandError::user(format!("invalid filter '{key}'")).hint("the one there is: `name=`"))
        }
    }
}

/// A part of the name; `^` and `$` stand for its ends.
fn fits(name: &str, pattern: &str) -> bool {
    let from_start = pattern.strip_prefix('^');
    let rest = from_start.unwrap_or(pattern);
    let to_end = rest.strip_suffix('$');
    let text = to_end.unwrap_or(rest);
    match (from_start, to_end) {
        (Some(_), Some(_)) => name == text,
        (Some(_), None) => name.starts_with(text),
        (None, Some(_)) => name.ends_with(text),
        (None, None) => name.contains(text),
    }
}

/// `exited(1), running(2)`
fn states(containers: &[Container]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for container in containers {
        *counts.entry(container.state.status.as_str()).or_default() += 1;
    }
    let shown: Vec<_> = counts
        .iter()
        .map(|(state, count)| format!("{state}({count})"))
        .collect();
    shown.join(", ")
}

fn files(containers: &[Container]) -> String {
    let labels = containers
        .iter()
        .filter_map(|container| container.definition.labels.get(CONFIG_FILES));
    let files: BTreeSet<&str> = labels.flat_map(|files| files.split(',')).collect();
    match files.is_empty() {
        true => "N/A".to_owned(),
        false => files.into_iter().collect::<Vec<_>>().join(","),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_parts() {
        assert!(fits("shop", "ho") && fits("shop", "^sh") && fits("shop", "op$") && fits("shop", "^shop$"));
        assert!(!fits("shop", "^ho") && !fits("shop", "^sho$"));
    }
}
