//! Bridges, addresses, published ports.
//!
//! [`Networks`] is the door: the default bridge of a store and the addresses on it, kept in the store's database. What a
//! container needs afterwards works on an [`Endpoint`] alone, without the database, so that its shim can do it:
//!
//! ```text
//! CLI    Networks::default_bridge -> allocate -> namespace -> connect        threads are used
//! shim   bind (keeps the ports) -> publish ... unpublish
//! CLI    Networks::release
//! ```
//!
//! On the host there are, all named after the store's instance so that two stores never meet:
//!
//! - a bridge `pl<instance>0`, its alias written last: without it the bridge is not finished;
//! - one veth pair per container, gone with the container's network namespace;
//! - the nft table `plimsoll_<instance>`: see the module `firewall`;
//! - accept rules in a foreign forward chain that drops, with the table's name as comment: see the module `foreign`.
//!
//! IPv4 only for now. Port numbers are bound for IPv6 too, and served by the shim's proxy.

mod bind;
mod firewall;
mod foreign;
mod namespace;
mod netlink;
mod networks;
mod nfnetlink;
mod nft;
mod port;
mod resolver;
mod subnet;
#[cfg(test)]
mod tests;

pub use bind::{BoundPort, bind};
pub use firewall::{publish, unpublish};
pub use namespace::{connect, namespace};
pub use networks::Networks;
pub use port::{PortRequest, Protocol, PublishedPort};
pub use resolver::resolv_conf;

use serde::{Deserialize, Serialize};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// A bridge network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// 64 hexadecimal digits.
    pub id: String,
    /// What users call it; the default one is `bridge`.
    pub name: String,
    /// Interface on the host: `pl<8 hex><n>`.
    pub bridge: String,
    /// First address of the subnet.
    pub subnet: Ipv4Addr,
    /// Length of the subnet's prefix.
    pub prefix: u8,
    /// The bridge's own address.
    pub gateway: Ipv4Addr,
    /// Largest packet, as on the device the host's default route leaves by.
    pub mtu: u32,
}

impl Network {
    fn subnet(&self) -> subnet::Subnet {
        subnet::Subnet::new(self.subnet, self.prefix)
    }
}

/// A container's place in a network; enough for [`connect`] and [`publish`] without the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Where it is.
    pub network: Network,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its hardware address, which follows from the address.
    pub mac: String,
    /// Host end of the veth pair.
    pub host_interface: String,
}

/// Docker's rule: 02:42 and the IPv4 address.
fn hardware_address(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x42, a, b, c, d]
}

/// Why something about a network could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// Somebody holds the port. Docker's very words, which scripts look for.
    #[error("Bind for {address} failed: port is already allocated")]
    PortTaken {
        /// What was to be bound.
        address: SocketAddr,
    },
    /// The port cannot be bound for another reason.
    #[error("cannot listen on {address}")]
    Bind {
        /// What was to be bound.
        address: SocketAddr,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Every pool overlaps something on this host.
    #[error("no free subnet: every address pool overlaps a route, an address or a name server of this host")]
    NoFreeSubnet,
    /// A network has no address left.
    #[error("network `{network}` has no free address left in {subnet}")]
    NoFreeAddress {
        /// The network's name.
        network: String,
        /// Its subnet.
        subnet: String,
    },
    /// The kernel refused for want of CAP_NET_ADMIN.
    #[error("not allowed to {action}")]
    NotPermitted {
        /// What was to be done.
        action: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel would not list something.
    #[error("cannot read the {what} of this host")]
    Read {
        /// Devices, routes or addresses.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// No network namespace.
    #[error("cannot make a network namespace")]
    Namespace {
        /// The kernel's answer.
        source: io::Error,
    },
    /// The bridge cannot be made.
    #[error("cannot make the bridge `{bridge}`")]
    MakeBridge {
        /// Its name.
        bridge: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The bridge cannot be removed.
    #[error("cannot remove the bridge `{bridge}`")]
    RemoveBridge {
        /// Its name.
        bridge: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The bridge of an endpoint does not exist (any more).
    #[error("the bridge `{bridge}` is gone")]
    BridgeGone {
        /// Its name.
        bridge: String,
    },
    /// A namespace cannot be joined to its network.
    #[error("cannot connect {address} to the bridge `{bridge}`")]
    Connect {
        /// The container's address.
        address: Ipv4Addr,
        /// Name of the bridge.
        bridge: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Packets are not forwarded between devices.
    #[error("cannot enable forwarding in `{path}`", path = path.display())]
    Forwarding {
        /// The kernel's switch.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The lock of this host's networks cannot be taken.
    #[error("cannot take the lock `{path}`", path = path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// There is no `nft`.
    #[error("`nft` is not installed, and bridge networks need it")]
    NoNft,
    /// `nft` is there but could not be run.
    #[error("cannot run `nft`")]
    StartNft {
        /// Why.
        source: io::Error,
    },
    /// `nft` refused.
    #[error("`nft` refused its script: {output}")]
    Nft {
        /// What it was told.
        script: String,
        /// What it said.
        output: String,
    },
    /// The database failed.
    #[error("cannot read or write networks in the database")]
    Db(#[from] rusqlite::Error),
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] plimsoll_store::StoreError),
}

impl NetworkError {
    /// Returns the way out, where there is one.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoNft => {
                "`apt-get install nftables`, or do without a bridge: `--network host` or `--network none`"
            }
            Self::NotPermitted { .. } => {
                "bridge networks need root (CAP_NET_ADMIN); `--network host` or `none` do not"
            }
            Self::NoFreeSubnet => "`ip route` shows what is taken; `--network host` needs no subnet",
            Self::PortTaken { .. } => {
                "`ss -tulpn` shows who has it; `-p PORT` without a host port takes any free one"
            }
            Self::BridgeGone { .. } => {
                "something removed it while containers used it; start the container again"
            }
            _ => return None,
        })
    }

    fn read(what: &'static str, source: io::Error) -> Self {
        Self::Read { what, source }
    }

    fn namespace(source: io::Error) -> Self {
        Self::permitted(
            source,
            || "make a network namespace".to_owned(),
            |source| Self::Namespace { source },
        )
    }

    fn make_bridge(bridge: &str, source: io::Error) -> Self {
        let action = || format!("make the bridge `{bridge}`");
        Self::permitted(source, action, |source| Self::MakeBridge {
            bridge: bridge.to_owned(),
            source,
        })
    }

    fn connect(endpoint: &Endpoint, source: io::Error) -> Self {
        let (address, bridge) = (endpoint.address, endpoint.network.bridge.clone());
        let action = || format!("connect {address} to the bridge `{bridge}`");
        Self::permitted(source, action, |source| Self::Connect {
            address,
            bridge: bridge.clone(),
            source,
        })
    }

    /// `Self::NotPermitted` when that is the reason, what `otherwise` says if not.
    fn permitted(
        source: io::Error,
        action: impl FnOnce() -> String,
        otherwise: impl FnOnce(io::Error) -> Self,
    ) -> Self {
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::NotPermitted {
                action: action(),
                source,
            },
            _ => otherwise(source),
        }
    }
}
