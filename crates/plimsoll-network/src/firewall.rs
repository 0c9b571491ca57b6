//! Our own tables: masquerade, published ports, and what may be forwarded.
//!
//! ```text
//! table ip plimsoll_<instance>              and the same of ip6, where a network has IPv6
//!   map any     protocol . port            : container address . port      -p 8080:80
//!   map exact   address . protocol . port  : container address . port      -p 192.0.2.1:8080:80
//!   chain prerouting, output               traffic to local addresses other than loopback looks its port up in the maps
//!   chain postrouting                      containers leave by the host's address; hairpin too
//!   chain forward                          only answers and published ports get in from outside a bridge
//!   chain input                            an internal network reaches its own gateway, and no other address of the host
//! ```
//!
//! A port published on loopback has no rule: the shim, which holds every published port, proxies it. So `route_localnet` stays
//! off. The shim proxies IPv6 to a container without it, too.

use serde_json::Value;
use std::fmt::Write;
use std::net::IpAddr;

use crate::{Endpoint, Network, NetworkError, Pool, Protocol, PublishedPort, nfnetlink, nft};

/// What differs between the tables of the two families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Ip,
    Ip6,
}

impl Family {
    const ALL: [Self; 2] = [Self::Ip, Self::Ip6];

    /// nft's word.
    fn word(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
        }
    }

    /// The kernel's number.
    fn number(self) -> u8 {
        match self {
            Self::Ip => 2,
            Self::Ip6 => 10,
        }
    }

    fn pool(self, network: &Network) -> Option<&Pool> {
        match self {
            Self::Ip => network.ipv4.as_ref(),
            Self::Ip6 => network.ipv6.as_ref(),
        }
    }
}

/// The table of one store.
pub(crate) fn table(instance: u32) -> String {
    format!("plimsoll_{instance:08x}")
}

/// The script for `nft` that writes the tables for these networks; published ports that are there already stay.
pub(crate) fn installation(instance: u32, networks: &[Network]) -> String {
    let mut script = String::new();
    for family in Family::ALL {
        let networks: Vec<_> = networks
            .iter()
            .filter_map(|network| Some((network, family.pool(network)?)))
            .collect();
        if family == Family::Ip || !networks.is_empty() {
            script.push_str(&install_script(family, &table(instance), &networks));
        }
    }
    script
}

/// Tables and chains that are there already are taken as they are, and `flush table` empties chains but not maps: the whole
/// thing is idempotent.
fn install_script(family: Family, table: &str, networks: &[(&Network, &Pool)]) -> String {
    let ip = family.word();
    let (address, loopback) = match family {
        Family::Ip => ("ipv4_addr", "127.0.0.0/8"),
        Family::Ip6 => ("ipv6_addr", "::1"),
    };
    let mut script = format!(
        "add table {ip} {table}
flush table {ip} {table}
table {ip} {table} {{
  map any {{ type inet_proto . inet_service : {address} . inet_service; }}
  map exact {{ type {address} . inet_proto . inet_service : {address} . inet_service; }}
  chain ports {{
    meta l4proto {{ tcp, udp }} dnat {ip} to {ip} daddr . meta l4proto . th dport map @exact
    meta l4proto {{ tcp, udp }} dnat {ip} to meta l4proto . th dport map @any
  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    fib daddr type local jump ports
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    {ip} daddr != {loopback} fib daddr type local jump ports
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
  }}
  chain input {{
    type filter hook input priority filter; policy accept;
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
  }}
"
    );
    let internal = networks.iter().filter(|(network, _)| network.internal);
    for (Network { bridge, .. }, pool) in internal {
        let own = match family {
            Family::Ip => pool.subnet.to_string(),
            // Neighbours are found by these.
            Family::Ip6 => format!("{{ {}, fe80::/10, ff00::/8 }}", pool.subnet),
        };
        let _ = write!(
            script,
            "  chain input {{
    iifname \"{bridge}\" {ip} daddr != {own} drop
  }}
  chain forward {{
    iifname \"{bridge}\" oifname != \"{bridge}\" drop
    iifname != \"{bridge}\" oifname \"{bridge}\" drop
  }}
"
        );
    }
    script.push_str(
        "  chain forward {\n    ct state established,related accept\n    ct status dnat accept\n  }\n",
    );
    for (network, pool) in networks.iter().filter(|(network, _)| !network.internal) {
        let (bridge, subnet) = (&network.bridge, pool.subnet);
        let _ = write!(
            script,
            "  chain forward {{\n    iifname != \"{bridge}\" oifname \"{bridge}\" drop\n  }}\n"
        );
        let masquerade = match network.allows("enable_ip_masquerade") {
            true => format!("    {ip} saddr {subnet} oifname != \"{bridge}\" masquerade\n"),
            false => String::new(),
        };
        // The second rule: a container reaches a published port of its own network by the host's address; answered directly,
        // the answer would come from an address it never wrote to.
        let _ = write!(
            script,
            "  chain postrouting {{
{masquerade}    {ip} saddr {subnet} oifname \"{bridge}\" ct status dnat masquerade
  }}
"
        );
    }
    script.push_str("}\n");
    script
}

/// Whether the tables are there: `systemctl restart nftables` takes every table away.
pub(crate) fn stands(instance: u32, with_ipv6: bool) -> bool {
    stands_of(Family::Ip, instance) && (!with_ipv6 || stands_of(Family::Ip6, instance))
}

fn stands_of(family: Family, instance: u32) -> bool {
    nfnetlink::has_table(family.number(), &table(instance)).unwrap_or(false)
}

/// Takes the tables away; fine when they are gone.
pub(crate) fn remove(instance: u32) -> Result<(), NetworkError> {
    let table = table(instance);
    let standing = Family::ALL
        .into_iter()
        .filter(|family| stands_of(*family, instance));
    let script: String = standing
        .map(|family| format!("add table {0} {table}\ndelete table {0} {table}\n", family.word()))
        .collect();
    match script.as_str() {
        "" => Ok(()),
        script => nft::run(script),
    }
}

/// Sends traffic for published ports to a container, in one `nft` run. Needs no database.
///
/// A port that an earlier container left behind (its shim was killed) is taken over: whoever calls this holds the port on
/// the host, so nobody else can be using it.
pub fn publish(instance: u32, endpoints: &[Endpoint], ports: &[PublishedPort]) -> Result<(), NetworkError> {
    let table = table(instance);
    let elements = elements(endpoints, ports);
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
pub fn unpublish(instance: u32, endpoints: &[Endpoint], ports: &[PublishedPort]) -> Result<(), NetworkError> {
    let mut elements = elements(endpoints, ports);
    elements.retain(|element| stands_of(element.family, instance));
    retract(instance, &elements)
}

/// Takes entries of the maps away, whoever made them; fine when they are gone.
pub(crate) fn retract(instance: u32, elements: &[Element]) -> Result<(), NetworkError> {
    if elements.is_empty() {
        return Ok(());
    }
    let table = table(instance);
    // Deleting what is not there is an error, adding what is there is not.
    let remove = |element: &Element| element.add(&table) + &element.delete(&table);
    match nft::run(&elements.iter().map(remove).collect::<String>()) {
        // One of the ports belongs to another container by now: leave that one.
        Err(NetworkError::Nft { .. }) => {}
        done => return done,
    }
    for element in elements {
        match nft::run(&remove(element)) {
            Err(error @ NetworkError::Nft { .. }) => {
                tracing::debug!(%error, key = element.key, "published port has a new owner");
            }
            done => done?,
        }
    }
    Ok(())
}

/// One entry of a map: a published port.
pub(crate) struct Element {
    family: Family,
    map: &'static str,
    /// `tcp . 8080`, with an address before it where it is published on one.
    pub(crate) key: String,
    value: String,
}

impl Element {
    /// The container it leads to.
    pub(crate) fn target(&self) -> Option<IpAddr> {
        self.value.split(' ').next()?.parse().ok()
    }

    fn add(&self, table: &str) -> String {
        format!(
            "add element {} {table} {} {{ {} : {} }}\n",
            self.family.word(),
            self.map,
            self.key,
            self.value
        )
    }

    fn delete(&self, table: &str) -> String {
        format!(
            "delete element {} {table} {} {{ {} }}\n",
            self.family.word(),
            self.map,
            self.key
        )
    }
}

fn elements(endpoints: &[Endpoint], ports: &[PublishedPort]) -> Vec<Element> {
    ports.iter().filter_map(|port| element(endpoints, port)).collect()
}

/// None where the shim's proxy does the work: loopback, and IPv6 to a container that has none.
fn element(endpoints: &[Endpoint], port: &PublishedPort) -> Option<Element> {
    let host = port.host_ip;
    if host.is_loopback() {
        return None;
    }
    let (family, container) = match host {
        IpAddr::V4(_) => {
            let endpoint = endpoints.iter().find(|endpoint| endpoint.default_route)?;
            (Family::Ip, IpAddr::V4(endpoint.address?))
        }
        IpAddr::V6(_) => {
            let endpoint = endpoints.iter().find(|endpoint| endpoint.default_route6)?;
            (Family::Ip6, IpAddr::V6(endpoint.address6?))
        }
    };
    let protocol = match port.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    let value = format!("{container} . {}", port.container_port);
    let key = format!("{protocol} . {}", port.host_port);
    let (map, key) = match host.is_unspecified() {
        true => ("any", key),
        false => ("exact", format!("{host} . {key}")),
    };
    Some(Element {
        family,
        map,
        key,
        value,
    })
}

/// Deletes for the keys of `elements` that the maps hold now.
fn stale(table: &str, elements: &[Element]) -> Result<String, NetworkError> {
    let mut script = String::new();
    for (family, map) in Family::ALL
        .into_iter()
        .flat_map(|family| [(family, "any"), (family, "exact")])
    {
        let here = |element: &&Element| element.family == family && element.map == map;
        if !elements.iter().any(|element| here(&element)) {
            continue;
        }
        let present = keys(&nft::list(&["map", family.word(), table, map])?);
        for element in elements
            .iter()
            .filter(here)
            .filter(|element| present.contains(&element.key))
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
    elements.filter_map(|element| concatenated(&element[0])).collect()
}

/// `tcp . 80`
fn concatenated(value: &Value) -> Option<String> {
    let parts = value["concat"].as_array()?;
    Some(parts.iter().map(word).collect::<Vec<_>>().join(" . "))
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The published ports of this store.
pub(crate) fn ports(instance: u32) -> Result<Vec<Element>, NetworkError> {
    let table = table(instance);
    let mut ports = Vec::new();
    for family in Family::ALL {
        if stands_of(family, instance) {
            let listing = nft::list(&["table", family.word(), &table])?;
            ports.extend(ports_of(family, &listing));
        }
    }
    Ok(ports)
}

fn ports_of(family: Family, listing: &[Value]) -> impl Iterator<Item = Element> {
    let maps = listing.iter().map(|object| &object["map"]);
    maps.flat_map(move |map| {
        let name = ["any", "exact"].into_iter().find(|name| map["name"] == *name);
        let elements = map["elem"].as_array().into_iter().flatten();
        elements.filter_map(move |element| {
            Some(Element {
                family,
                map: name?,
                key: concatenated(&element[0])?,
                value: concatenated(&element[1])?,
            })
        })
    })
}
