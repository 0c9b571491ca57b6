//! `network ls`

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;

use jiff::Timestamp;
use plimsoll_network::{NetworkInfo, Networks};
use plimsoll_store::Store;
use serde_json::{Value, json};

use super::asking::Filter;
use crate::command_error::CommandError;
use crate::context::Context;
use crate::output::rows;

/// List networks
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Show only what fits: `name=`, `id=`, `driver=`, `label=`, `scope=`, `type=custom|builtin`, `dangling=`
    #[arg(short, long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<Filter>,
    /// Print a table, `json`, or what a Go template says
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Show whole ids
    #[arg(long)]
    no_trunc: bool,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
}

const KEYS: &[&str] = &["dangling", "driver", "id", "label", "name", "scope", "type"];
const TABLE: &str = "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}";
const HEADERS: &[(&str, &str)] = &[
    ("ID", "NETWORK ID"),
    ("Name", "NAME"),
    ("Driver", "DRIVER"),
    ("Scope", "SCOPE"),
    ("IPv4", "IPV4"),
    ("IPv6", "IPV6"),
    ("Internal", "INTERNAL"),
    ("Labels", "LABELS"),
    ("CreatedAt", "CREATED AT"),
];

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    if let Some(unknown) = args
        .filters
        .iter()
        .find(|filter| !KEYS.contains(&filter.key.as_str()))
    {
        return Err(unknown.unknown(KEYS));
    }
    let networks = Networks::new(context.store()?);
    let mut shown = Vec::new();
    for info in networks.list()? {
        if keeps(&args.filters, &info, &networks)? {
            shown.push(info);
        }
    }
    let mut out = context.stdout();
    let id = |info: &NetworkInfo| info.id[..if args.no_trunc { 64 } else { 12 }].to_owned();
    if args.quiet && args.format.is_none() {
        shown.iter().try_for_each(|info| writeln!(out, "{}", id(info)))?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<Value> = shown.iter().map(|info| row(info, id(info))).collect();
    rows::print(&mut out, args.format.as_deref(), TABLE, HEADERS, &rows)?;
    Ok(ExitCode::SUCCESS)
}

fn row(info: &NetworkInfo, id: String) -> Value {
    let network = info.network.as_ref();
    let labels = network.map(|network| &network.labels).into_iter().flatten();
    let labels: Vec<String> = labels.map(|(key, value)| format!("{key}={value}")).collect();
    let created = Timestamp::from_nanosecond(info.created.into()).unwrap_or_default();
    json!({
        "CreatedAt": created.strftime("%Y-%m-%d %H:%M:%S.%f +0000 UTC").to_string(),
        "Driver": info.driver,
        "ID": id,
        "IPv4": network.is_none_or(|network| network.ipv4.is_some()).to_string(),
        "IPv6": network.is_some_and(|network| network.ipv6.is_some()).to_string(),
        "Internal": network.is_some_and(|network| network.internal).to_string(),
        "Labels": labels.join(","),
        "Name": info.name,
        "Scope": "local",
    })
}

/// Filters of one key are alternatives, but labels.
fn keeps(filters: &[Filter], info: &NetworkInfo, networks: &Networks) -> Result<bool, CommandError> {
    let no_labels = BTreeMap::new();
    let labels = info
        .network
        .as_ref()
        .map_or(&no_labels, |network| &network.labels);
    let fits = |filter: &Filter| -> Result<bool, CommandError> {
        Ok(match filter.key.as_str() {
            "name" => info.name.contains(&filter.value) != filter.negated,
            "id" => info.id.starts_with(&filter.value) != filter.negated,
            "driver" => filter.holds(&info.driver),
            "scope" => filter.holds("local"),
            "label" => filter.holds_among(labels),
            "dangling" => filter.holds_bool(!info.is_predefined() && !networks.is_used(info)?),
            _ => match filter.value.as_str() {
                "builtin" => info.is_predefined(),
                "custom" => !info.is_predefined(),
                other => return Err(CommandError::user(format!("invalid filter: 'type'='{other}'"))),
            },
        })
    };
    for key in KEYS {
        let mut same = filters.iter().filter(|filter| filter.key == *key).peekable();
        if same.peek().is_none() {
            continue;
        }
        let fitting = same.map(fits).collect::<Result<Vec<_>, _>>()?;
        let kept = match *key {
            "label" => fitting.iter().all(|fits| *fits),
            _ => fitting.iter().any(|fits| *fits),
        };
        if !kept {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Notes that something happened to a network, for `events`.
pub(super) fn event(store: &Store, action: &str, id: &str, name: &str) {
    let attributes =
        [("name", name), ("type", "bridge")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    store.events().record("network", action, id, attributes.into());
}
