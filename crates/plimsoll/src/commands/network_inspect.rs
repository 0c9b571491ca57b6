//! `network inspect`

use std::process::ExitCode;

use jiff::Timestamp;
use plimsoll_network::{NetworkInfo, Networks, Pool};
use serde_json::{Map, Value, json};

use super::inspect::Output;
use crate::command_error::CommandError;
use crate::context::Context;

/// Show everything about networks
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    output: Output,
    /// Accepted for Docker's sake
    #[arg(short, long, hide = true)]
    verbose: bool,
    /// Networks, by name or id
    #[arg(required = true, value_name = "NETWORK")]
    names: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    args.output
        .print(context, &args.names, |name| network(context, name))
}

/// What Docker prints for a network.
pub(crate) fn network(context: &Context, name: &str) -> Result<Value, CommandError> {
    let networks = Networks::new(context.store()?);
    let mut info = networks.get(name)?;
    if info.network.is_none() && info.driver == "bridge" {
        // Scripts ask for its gateway before the first container is there.
        networks.default_bridge()?;
        info = networks.get(name)?;
    }
    let members = members(&networks, &info)?;
    Ok(describe(&info, members))
}

fn describe(info: &NetworkInfo, members: Value) -> Value {
    let network = info.network.as_ref();
    let created = Timestamp::from_nanosecond(info.created.into()).unwrap_or_default();
    let config: Option<Vec<Value>> = network.map(|network| network.pools().map(pool).collect());
    let ipam = match (&config, info.is_predefined()) {
        (Some(_), false) => json!({}),
        _ => Value::Null,
    };
    json!({
        "Name": info.name,
        "Id": info.id,
        "Created": created.to_string(),
        "Scope": "local",
        "Driver": info.driver,
        "EnableIPv4": network.is_none_or(|network| network.ipv4.is_some()),
        "EnableIPv6": network.is_some_and(|network| network.ipv6.is_some()),
        "IPAM": { "Driver": "default", "Options": ipam, "Config": config },
        "Internal": network.is_some_and(|network| network.internal),
        "Attachable": network.is_some_and(|network| network.attachable),
        "Ingress": false,
        "ConfigFrom": { "Network": "" },
        "ConfigOnly": false,
        "Containers": members,
        "Options": network.map(|network| network.options.clone()).unwrap_or_default(),
        "Labels": network.map(|network| network.labels.clone()).unwrap_or_default(),
    })
}

fn pool(pool: &Pool) -> Value {
    let mut value = json!({ "Subnet": pool.subnet });
    if let Some(range) = pool.range {
        value["IPRange"] = json!(range);
    }
    value["Gateway"] = json!(pool.gateway);
    if !pool.reserved.is_empty() {
        value["AuxiliaryAddresses"] = json!(pool.reserved);
    }
    value
}

fn members(networks: &Networks, info: &NetworkInfo) -> Result<Value, CommandError> {
    let Some(network) = &info.network else {
        return Ok(json!({}));
    };
    let with_prefix = |address: Option<std::net::IpAddr>, pool: Option<&Pool>| match (address, pool) {
        (Some(address), Some(pool)) => format!("{address}/{}", pool.subnet.prefix()),
        _ => String::new(),
    };
    let mut members = Map::new();
    for member in networks.members(&info.id)? {
        let value = json!({
            "Name": member.name,
            "EndpointID": member.endpoint,
            "MacAddress": member.hardware_address(),
            "IPv4Address": with_prefix(member.address.map(Into::into), network.ipv4.as_ref()),
            "IPv6Address": with_prefix(member.address6.map(Into::into), network.ipv6.as_ref()),
        });
        members.insert(member.container, value);
    }
    Ok(Value::Object(members))
}
