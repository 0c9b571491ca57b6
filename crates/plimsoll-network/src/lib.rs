//! Bridges, addresses, published ports, names.
//!
//! [`Networks`] is the door: the networks of a store and the places containers have on them, kept in the store's database.
//! What a container needs afterwards works on an [`Endpoint`] alone, without the database, so that its shim can do it:
//!
//! ```text
//! CLI    Networks::join -> namespace -> Networks::connect -> name_service   threads are used
//! shim   bind (keeps the ports) -> publish ... unpublish; NameTable answers questions
//! CLI    Networks::park when it has ended, Networks::release when it is removed
//! ```
//!
//! On the host there are, all named after the store's instance so that two stores never meet:
//!
//! - a bridge `pl<instance><n>` per network, its alias written last: without it the bridge is not finished;
//! - one veth pair per place, gone with the container's network namespace;
//! - the nft tables `plimsoll_<instance>`, of IPv4 and where a network has it of IPv6: see the module `firewall`;
//! - accept rules in a foreign forward chain that drops, with the table's name as comment: see the module `foreign`;
//! - for an ordinary user all of it in a network namespace of theirs: see [`Room`];
//! - `run/networks/<12 hex>.json`: who is on a network, by name, for the name service of each container's shim.

mod bind;
mod endpoints;
mod error;
mod firewall;
mod foreign;
mod host;
mod leaks;
mod names;
mod namespace;
mod netlink;
mod networks;
mod nfnetlink;
mod nft;
mod port;
mod request;
mod resolver;
mod room;
mod rows;
mod subnet;
#[cfg(test)]
mod tests;

pub use bind::{BoundPort, bind};
pub use endpoints::{AttachOptions, Attachment, INTERFACE_NAME};
pub use error::NetworkError;
pub use firewall::{publish, unpublish};
pub use foreign::count as foreign_firewalls;
pub use leaks::Claim;
pub use names::{Answer, Member, NameTable};
pub use namespace::{NameSockets, name_service, namespace, set_default_routes};
pub use networks::{Networks, default_routes, way_out};
pub use port::{PortRequest, Protocol, PublishedPort};
pub use request::NetworkRequest;
pub use resolver::{Resolver, resolv_conf, servers};
pub use room::{Keeper, Room};
pub use rows::NetworkInfo;
pub use subnet::Subnet;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Name of the network containers are on unless told otherwise.
pub const DEFAULT_NETWORK: &str = "bridge";

/// A bridge network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// 64 hexadecimal digits.
    pub id: String,
    /// What users call it; the default one is `bridge`.
    pub name: String,
    /// Interface on the host: `pl<8 hex><n>`.
    pub bridge: String,
    /// Its IPv4 addresses, unless it has IPv6 alone.
    pub ipv4: Option<Pool>,
    /// Its IPv6 addresses, if it has any.
    pub ipv6: Option<Pool>,
    /// Largest packet, as on the device the host's default route leaves by.
    pub mtu: u32,
    /// No way out.
    pub internal: bool,
    /// Accepted for Docker's sake.
    pub attachable: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Options of the driver, in Docker's words.
    pub options: BTreeMap<String, String>,
}

/// The addresses of one family that a network has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// All of them.
    pub subnet: Subnet,
    /// The bridge's own.
    pub gateway: IpAddr,
    /// Where containers get theirs from unless they ask for one.
    pub range: Option<Subnet>,
    /// Kept for somebody else, by name.
    pub reserved: BTreeMap<String, IpAddr>,
}

impl Network {
    /// Whether it is the one that is always there, which has no names.
    pub fn is_default(&self) -> bool {
        self.name == DEFAULT_NETWORK
    }

    /// An option of Docker's bridge driver: `com.docker.network.bridge.<name>`.
    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        let key = format!("com.docker.network.bridge.{name}");
        self.options.get(&key).map(String::as_str)
    }

    /// Options are true unless they say otherwise.
    pub(crate) fn allows(&self, option: &str) -> bool {
        !matches!(
            self.option(option),
            Some("false" | "0" | "f" | "F" | "False" | "FALSE")
        )
    }

    /// The host address that ports are published on when `-p` names none.
    pub fn host_binding(&self) -> Option<IpAddr> {
        let address = self.option("host_binding_ipv4")?.parse().ok()?;
        (address != IpAddr::V4(Ipv4Addr::UNSPECIFIED)).then_some(address)
    }

    /// Of each family that it has, IPv4 first.
    pub fn pools(&self) -> impl Iterator<Item = &Pool> {
        self.ipv4.iter().chain(&self.ipv6)
    }

    /// The first of them.
    pub(crate) fn main_pool(&self) -> &Pool {
        self.pools().next().expect("a network has one family at least")
    }

    /// The bridge's own address, IPv4 where it has one.
    pub fn gateway(&self) -> IpAddr {
        self.main_pool().gateway
    }
}

/// A container's place in a network; enough for [`Networks::connect`] and [`publish`] without the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Where it is.
    pub network: Network,
    /// Its IPv4 address, where the network has them.
    pub address: Option<Ipv4Addr>,
    /// Its IPv6 address, where the network has them.
    pub address6: Option<Ipv6Addr>,
    /// Its hardware address, which follows from the address.
    pub mac: String,
    /// Host end of the veth pair.
    pub host_interface: String,
    /// What the container calls it: `eth0`.
    pub interface: String,
    /// The container's way to everywhere else, and where its ports are published.
    pub default_route: bool,
    /// The same for IPv6.
    pub default_route6: bool,
    /// What was asked for.
    pub options: AttachOptions,
}

impl Endpoint {
    /// Its IPv4 address, else the other.
    pub fn main_address(&self) -> IpAddr {
        main_address(self.address, self.address6)
    }
}

/// What a place is known by: every one has an address of one family at least.
fn main_address(four: Option<Ipv4Addr>, six: Option<Ipv6Addr>) -> IpAddr {
    let six = six.map_or(Ipv4Addr::UNSPECIFIED.into(), IpAddr::V6);
    four.map_or(six, IpAddr::V4)
}

/// Docker's rule: 02:42 and the IPv4 address; of an IPv6 address the end, which is the host's part.
fn hardware_address(address: IpAddr) -> [u8; 6] {
    let [a, b, c, d] = match address {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(address) => *address.octets().last_chunk().expect("it has 16 bytes"),
    };
    [0x02, 0x42, a, b, c, d]
}
