//! The parts of `inspect` about networks.

use std::collections::BTreeMap;

use plimsoll_network::{AttachOptions, Attachment, Endpoint, PublishedPort};
use serde_json::{Map, Value, json};

use super::list;
use crate::containers::Container;
use crate::create::protocol;
use crate::model::{Definition, NetworkMode};

/// `HostConfig.PortBindings`
pub(super) fn port_bindings(definition: &Definition) -> Value {
    let mut ports: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for port in &definition.ports {
        let host_ip = port
            .host_ip
            .map(|address| address.to_string())
            .unwrap_or_default();
        let host_port = match (port.host_port, port.last_host_port) {
            (0, _) => String::new(),
            (first, Some(last)) => format!("{first}-{last}"),
            (port, None) => port.to_string(),
        };
        let key = format!("{}/{}", port.container_port, protocol(port.protocol));
        ports
            .entry(key)
            .or_default()
            .push(json!({ "HostIp": host_ip, "HostPort": host_port }));
    }
    json!(ports)
}

/// `HostConfig.Links`
pub(super) fn links(container: &Container) -> Value {
    let links = container.definition.links.iter();
    let name = |(target, alias): &(String, String)| format!("/{target}:/{}/{alias}", container.name);
    list(links.map(name).collect())
}

/// `NetworkSettings`
pub(super) fn settings(container: &Container, attachments: &[Attachment]) -> Value {
    let endpoints = &container.state.endpoints;
    let of_default = endpoints.iter().find(|endpoint| endpoint.network.is_default());
    let mut value = json!({
        "Bridge": "",
        "SandboxID": match container.is_running() && !endpoints.is_empty() {
            true => container.id(),
            false => "",
        },
        "SandboxKey": match container.state.pid {
            0 => String::new(),
            pid => format!("/proc/{pid}/ns/net"),
        },
        "Ports": ports(&container.definition, &container.state.ports),
        "HairpinMode": false,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": null,
        "SecondaryIPv6Addresses": null,
    });
    if let Value::Object(fields) = &mut value {
        fields.extend(addresses(of_default));
        fields.insert("Networks".to_owned(), networks(container, attachments));
    }
    value
}

fn addresses(endpoint: Option<&Endpoint>) -> Map<String, Value> {
    let text = |value: Option<String>| json!(value.unwrap_or_default());
    let four = endpoint.and_then(|endpoint| Some((endpoint.address?, endpoint.network.ipv4.as_ref()?)));
    let leads_out = endpoint.is_some_and(|endpoint| !endpoint.network.internal);
    let six = endpoint.and_then(|endpoint| Some((endpoint.address6?, endpoint.network.ipv6.as_ref()?)));
    let fields = [
        ("EndpointID", text(endpoint.map(|endpoint| endpoint.id.clone()))),
        (
            "Gateway",
            text(
                four.filter(|_| leads_out)
                    .map(|(_, pool)| pool.gateway.to_string()),
            ),
        ),
        (
            "GlobalIPv6Address",
            text(six.map(|(address, _)| address.to_string())),
        ),
        (
            "GlobalIPv6PrefixLen",
            json!(six.map_or(0, |(_, pool)| pool.subnet.prefix())),
        ),
        ("IPAddress", text(four.map(|(address, _)| address.to_string()))),
        (
            "IPPrefixLen",
            json!(four.map_or(0, |(_, pool)| pool.subnet.prefix())),
        ),
        ("IPv6Gateway", text(six.map(|(_, pool)| pool.gateway.to_string()))),
        ("MacAddress", text(endpoint.map(|endpoint| endpoint.mac.clone()))),
    ];
    fields
        .map(|(key, value)| (key.to_owned(), value))
        .into_iter()
        .collect()
}

/// Every network it is on, or will be when it runs.
fn networks(container: &Container, attachments: &[Attachment]) -> Value {
    let mut networks = BTreeMap::new();
    for attachment in attachments {
        networks.insert(attachment.name.clone(), (Some(&attachment.options), None));
    }
    for endpoint in &container.state.endpoints {
        networks.insert(
            endpoint.network.name.clone(),
            (Some(&endpoint.options), Some(endpoint)),
        );
    }
    let own = match &container.definition.network {
        NetworkMode::Container(_) => None,
        mode => Some(mode.to_string()),
    };
    if networks.is_empty()
        && let Some(name) = own
    {
        networks.insert(name, (None, None));
    }
    let described = networks.into_iter().map(|(name, (options, endpoint))| {
        let place = place(container, options.unwrap_or(&AttachOptions::default()), endpoint);
        (name, place)
    });
    Value::Object(described.collect())
}

fn place(container: &Container, options: &AttachOptions, endpoint: Option<&Endpoint>) -> Value {
    let asked = [
        ("IPv4Address", options.address.map(|address| json!(address))),
        ("IPv6Address", options.address6.map(|address| json!(address))),
        (
            "LinkLocalIPs",
            (!options.link_local.is_empty()).then(|| json!(options.link_local)),
        ),
    ];
    let asked: BTreeMap<_, _> = asked
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect();
    let is_user = endpoint.is_none_or(|endpoint| !endpoint.network.is_default());
    let links = container
        .definition
        .links
        .iter()
        .map(|(target, alias)| format!("{target}:{alias}"));
    let mut fields = Map::new();
    let mut set = |key: &str, value: Value| fields.insert(key.to_owned(), value);
    set(
        "IPAMConfig",
        if asked.is_empty() {
            Value::Null
        } else {
            json!(asked)
        },
    );
    set(
        "Links",
        if is_user {
            list(links.collect())
        } else {
            Value::Null
        },
    );
    set("Aliases", list(options.aliases.clone()));
    set("MacAddress", json!(options.mac.clone().unwrap_or_default()));
    set(
        "DriverOpts",
        match options.driver_options.is_empty() {
            true => Value::Null,
            false => json!(options.driver_options),
        },
    );
    set("GwPriority", json!(options.gateway_priority));
    set(
        "NetworkID",
        json!(
            endpoint
                .map(|endpoint| endpoint.network.id.clone())
                .unwrap_or_default()
        ),
    );
    let names = endpoint
        .map(|endpoint| endpoint.names(&container.name, container.id()))
        .unwrap_or_default();
    let mut found = addresses(endpoint);
    if endpoint.is_none() {
        found.remove("MacAddress");
    }
    fields.extend(found);
    fields.insert("DNSNames".to_owned(), list(names));
    Value::Object(fields)
}

/// Exposed ports with what they are published as: null when they are not.
fn ports(definition: &Definition, published: &[PublishedPort]) -> Value {
    let mut ports = Map::new();
    if !published.is_empty() || definition.network.primary().is_some() {
        for port in &definition.exposed_ports {
            ports.insert(port.clone(), Value::Null);
        }
    }
    for port in published {
        let key = format!("{}/{}", port.container_port, protocol(port.protocol));
        let entry = json!({ "HostIp": port.host_ip.to_string(), "HostPort": port.host_port.to_string() });
        match ports.get_mut(&key).and_then(Value::as_array_mut) {
            Some(list) => list.push(entry),
            None => {
                ports.insert(key, json!([entry]));
            }
        }
    }
    Value::Object(ports)
}
