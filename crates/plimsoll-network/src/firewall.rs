//! Our own table: masquerade, published ports, and what may be forwarded.
//!
//! ```text
//! table ip plimsoll_<instance>
//!   map any     protocol . port            : container address . port      -p 8080:80
//!   map exact   address . protocol . port  : container address . port      -p 192.0.2.1:8080:80
//!   chain prerouting, output               traffic to local addresses other than loopback looks its port up in the maps
//!   chain postrouting                      containers leave by the host's address; hairpin too
//!   chain forward                          only answers and published ports get in from outside a bridge
//! ```
//!
//! A port published on loopback has no rule: the shim, which holds every published port, proxies it. So `route_localnet` stays off.

use serde_json::Value;
use std::fmt::Write;
use std::net::IpAddr;

use crate::subnet::Subnet;
use crate::{Endpoint, Network, NetworkError, Protocol, PublishedPort, nfnetlink, nft};

/// The table of one store.
pub(crate) fn table(instance: u32) -> String {
    format!("plimsoll_{instance:08x}")
}

/// Writes the table for these networks; published ports that are there already stay.
pub(crate) fn install(instance: u32, networks: &[Network]) -> Result<(), NetworkError> {
    nft::run(&install_script(instance, networks))
}

/// Tables and chains that are there already are taken as they are, and `flush table` empties chains but not maps: the whole
/// thing is idempotent.
fn install_script(instance: u32, networks: &[Network]) -> String {
    let table = table(instance);
    let mut script = format!(
        "add table ip {table}
flush table ip {table}
table ip {table} {{
  map any {{ type inet_proto . inet_service : ipv4_addr . inet_service; }}
  map exact {{ type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }}
  chain ports {{
    meta l4proto {{ tcp, udp }} dnat ip to ip daddr . meta l4proto . th dport map @exact
    meta l4proto {{ tcp, udp }} dnat ip to meta l4proto . th dport map @any
  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    fib daddr type local jump ports
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    ip daddr != 127.0.0.0/8 fib daddr type local jump ports
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    ct state established,related accept
    ct status dnat accept
  }}
"
    );
    for Network {
        bridge,
        subnet,
        prefix,
        ..
    } in networks
    {
        let subnet = Subnet::new(*subnet, *prefix);
        // The second rule: a container reaches a published port of its own network by the host's address; answered directly,
        // the answer would come from an address it never wrote to.
        let _ = write!(
            script,
            "  chain postrouting {{
    ip saddr {subnet} oifname != \"{bridge}\" masquerade
    ip saddr {subnet} oifname \"{bridge}\" ct status dnat masquerade
  }}
  chain forward {{
    iifname != \"{bridge}\" oifname \"{bridge}\" drop
  }}
"
        );
    }
    script.push_str("}\n");
    script
}

/// Whether the table is there: `systemctl restart nftables` takes every table away.
pub(crate) fn stands(instance: u32) -> bool {
    nfnetlink::has_table(&table(instance)).unwrap_or(false)
}

/// Takes the table away; fine when it is gone.
pub(crate) fn remove(instance: u32) -> Result<(), NetworkError> {
    if !stands(instance) {
        return Ok(());
    }
    let table = table(instance);
    nft::run(&format!("add table ip {table}\ndelete table ip {table}\n"))
}

/// Sends traffic for published ports to a container, in one `nft` run. Needs no database.
///
/// A port that an earlier container left behind (its shim was killed) is taken over: whoever calls this holds the port on
/// the host, so nobody else can be using it.
pub fn publish(instance: u32, endpoint: &Endpoint, ports: &[PublishedPort]) -> Result<(), NetworkError> {
    let table = table(instance);
    let elements = elements(endpoint, ports);
    if elements.is_empty() {
        return Ok(());
    }
    let add: String = elements.iter().map(|element| element.add(&table)).collect();
    if nft::run(&add).is_ok() {
        return Ok(());
    }
    // The exact reason is not for programs to read; if it was not a stale element, the second try says it again.
    let stale = stale(&table, &elements)?;
    nft::run(&(stale + &add))
}

/// Takes the rules of [`publish`] away; fine when they are gone.
pub fn unpublish(instance: u32, endpoint: &Endpoint, ports: &[PublishedPort]) -> Result<(), NetworkError> {
    let table = table(instance);
    let elements = elements(endpoint, ports);
    if elements.is_empty() || !stands(instance) {
        return Ok(());
    }
    // Deleting what is not there is an error, adding what is there is not.
    let remove = |element: &Element| element.add(&table) + &element.delete(&table);
    if nft::run(&elements.iter().map(remove).collect::<String>()).is_ok() {
        return Ok(());
    }
    // One of the ports belongs to another container by now: leave that one.
    for element in &elements {
        if let Err(error) = nft::run(&remove(element)) {
            tracing::debug!(%error, key = element.key, "published port has a new owner");
        }
    }
    Ok(())
}

/// One entry of a map.
struct Element {
    map: &'static str,
    key: String,
    value: String,
}

impl Element {
    fn add(&self, table: &str) -> String {
        format!(
            "add element ip {table} {} {{ {} : {} }}\n",
            self.map, self.key, self.value
        )
    }

    fn delete(&self, table: &str) -> String {
        format!("delete element ip {table} {} {{ {} }}\n", self.map, self.key)
    }
}

fn elements(endpoint: &Endpoint, ports: &[PublishedPort]) -> Vec<Element> {
    ports.iter().filter_map(|port| element(endpoint, port)).collect()
}

/// None where the shim's proxy does the work: loopback, and IPv6.
fn element(endpoint: &Endpoint, port: &PublishedPort) -> Option<Element> {
    let IpAddr::V4(host) = port.host_ip else {
        return None;
    };
    if host.is_loopback() {
        return None;
    }
    let protocol = match port.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    let value = format!("{} . {}", endpoint.address, port.container_port);
    let key = format!("{protocol} . {}", port.host_port);
    Some(match host.is_unspecified() {
        true => Element {
            map: "any",
            key,
            value,
        },
        false => Element {
            map: "exact",
            key: format!("{host} . {key}"),
            value,
        },
    })
}

/// Deletes for the keys of `elements` that the maps hold now.
fn stale(table: &str, elements: &[Element]) -> Result<String, NetworkError> {
    let mut script = String::new();
    for map in ["any", "exact"] {
        let present = keys(&nft::list(&["map", "ip", table, map])?);
        for element in elements
            .iter()
            .filter(|element| element.map == map && present.contains(&element.key))
        {
            script.push_str(&element.delete(table));
        }
    }
    Ok(script)
}

/// The keys of a listed map, in the words of [`element`].
fn keys(listing: &[Value]) -> Vec<String> {
    let elements = listing
        .iter()
        .filter_map(|object| object["map"]["elem"].as_array())
        .flatten();
    elements
        .filter_map(|element| element[0]["concat"].as_array())
        .map(|parts| parts.iter().map(word).collect::<Vec<_>>().join(" . "))
        .collect()
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
