//! `network prune`

use std::io::Write as _;
use std::process::ExitCode;

use plimsoll_network::{NetworkInfo, Networks};

use super::asking::{self, Filter};
use crate::command_error::CommandError;
use crate::context::Context;

/// Remove networks that no container is on, running or not
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Remove only what fits: `until=24h`, `label=KEY[=VALUE]`, `label!=`
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<Filter>,
}

const KEYS: &[&str] = &["label", "until"];

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    if let Some(unknown) = args
        .filters
        .iter()
        .find(|filter| !KEYS.contains(&filter.key.as_str()))
    {
        return Err(unknown.unknown(KEYS));
    }
    let warning = "This will remove all custom networks not used by at least one container.";
    asking::confirm(context, args.force, warning, "network prune")?;
    let removed = prune(context, &args.filters)?;
    let mut out = context.stdout();
    if !removed.is_empty() {
        writeln!(out, "Deleted Networks:")?;
        removed.iter().try_for_each(|name| writeln!(out, "{name}"))?;
        writeln!(out)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Removes unused networks and returns their names; `system prune` does it, too.
pub(super) fn prune(context: &Context, filters: &[Filter]) -> Result<Vec<String>, CommandError> {
    let store = context.store()?;
    let networks = Networks::new(store);
    let mut removed = Vec::new();
    for info in networks.list()? {
        if info.is_predefined() || networks.is_used(&info)? || !fits(filters, &info)? {
            continue;
        }
        networks.remove(&info)?;
        super::network_ls::event(store, "destroy", &info.id, &info.name);
        removed.push(info.name);
    }
    asking::pruned(store, "network", 0);
    Ok(removed)
}

fn fits(filters: &[Filter], info: &NetworkInfo) -> Result<bool, CommandError> {
    for filter in filters {
        let fits = match (filter.key.as_str(), &info.network) {
            ("until", _) => info.created < filter.until()?,
            (_, Some(network)) => filter.holds_among(&network.labels),
            (_, None) => false,
        };
        if !fits {
            return Ok(false);
        }
    }
    Ok(true)
}
