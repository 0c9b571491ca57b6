//! What can go wrong with a network.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use crate::Endpoint;

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
    /// Somebody holds every port of a range.
    #[error("Bind for {address}-{last} failed: port is already allocated")]
    RangeTaken {
        /// The first one.
        address: SocketAddr,
        /// The last port.
        last: u16,
    },
    /// No network has this name.
    #[error("network {name} not found")]
    NotFound {
        /// What was looked for.
        name: String,
        /// Those there are.
        known: Vec<String>,
    },
    /// Several networks' ids begin so.
    #[error("network {0} is ambiguous (several networks' ids begin with it)")]
    Ambiguous(String),
    /// The name is taken.
    #[error("network with name {0} already exists")]
    Exists(String),
    /// The three networks that are always there can be neither made nor removed.
    #[error("operation is not permitted on predefined {0} network")]
    Predefined(String),
    /// The same, in Docker's other words.
    #[error("{0} is a pre-defined network and cannot be removed")]
    CannotRemove(String),
    /// Containers are on it.
    #[error("error while removing network: network {name} has active endpoints ({endpoints})")]
    InUse {
        /// Its name.
        name: String,
        /// Who.
        endpoints: String,
    },
    /// What was asked for makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// A subnet that is in use on this host.
    #[error(
        "invalid pool request: Pool overlaps with other one on this address space: {subnet} is in use by {other}"
    )]
    Overlap {
        /// What was asked for.
        subnet: String,
        /// Who has it.
        other: String,
    },
    /// A device of that name exists and is not ours.
    #[error("a network device `{0}` exists already")]
    DeviceExists(String),
    /// An address somebody has.
    #[error("Address already in use: {address} on network {network} belongs to {owner}")]
    AddressInUse {
        /// Which.
        address: IpAddr,
        /// Where.
        network: String,
        /// Whose.
        owner: String,
    },
    /// The container is there already.
    #[error("endpoint with name {container} already exists in network {network}")]
    AlreadyConnected {
        /// The container.
        container: String,
        /// The network.
        network: String,
    },
    /// The container is not there.
    #[error("container {container} is not connected to network {network}")]
    NotConnected {
        /// The container.
        container: String,
        /// The network.
        network: String,
    },
    /// A file of the networks cannot be written.
    #[error("cannot write `{path}`", path = path.display())]
    Write {
        /// Which.
        path: PathBuf,
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
        address: IpAddr,
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
        let hint = match self {
            Self::NoNft => {
                "`apt-get install nftables`, or do without a bridge: `--network host` or `--network none`"
            }
            Self::NotPermitted { .. } => {
                "bridge networks need root (CAP_NET_ADMIN); `--network host` or `none` do not"
            }
            Self::NoFreeAddress { .. } => {
                "`network inspect` shows who has them; make a network with a larger `--subnet`, or remove containers"
            }
            Self::NoFreeSubnet => "`ip route` shows what is taken; `--network host` needs no subnet",
            Self::PortTaken { .. } => {
                "`ss -tulpn` shows who has it; `-p PORT` without a host port takes any free one"
            }
            Self::BridgeGone { .. } => {
                "something removed it while containers used it; start the container again"
            }
            Self::Bind { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "`sudo sysctl -w net.ipv4.ip_unprivileged_port_start=80` lets everybody publish low ports"
            }
            Self::Overlap { .. } => "leave `--subnet` out to get a free one",
            Self::InUse { .. } => "`network disconnect -f` takes a container off it",
            Self::RangeTaken { .. } => "`ss -tulpn` shows who has them",
            _ => return None,
        };
        Some(hint)
    }

    /// Whether the user asked for something that cannot be.
    pub fn is_users(&self) -> bool {
        matches!(
            self,
            Self::Exists(_)
                | Self::Predefined(_)
                | Self::CannotRemove(_)
                | Self::InUse { .. }
                | Self::Invalid(_)
                | Self::Overlap { .. }
                | Self::DeviceExists(_)
                | Self::AddressInUse { .. }
                | Self::AlreadyConnected { .. }
                | Self::NotConnected { .. }
                | Self::Ambiguous(_)
                | Self::PortTaken { .. }
                | Self::RangeTaken { .. }
                | Self::NoFreeAddress { .. }
        )
    }

    pub(crate) fn write(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Write { path, source }
    }

    pub(crate) fn read(what: &'static str, source: io::Error) -> Self {
        Self::Read { what, source }
    }

    pub(crate) fn namespace(source: io::Error) -> Self {
        Self::permitted(
            source,
            || "make a network namespace".to_owned(),
            |source| Self::Namespace { source },
        )
    }

    pub(crate) fn make_bridge(bridge: &str, source: io::Error) -> Self {
        let action = || format!("make the bridge `{bridge}`");
        Self::permitted(source, action, |source| Self::MakeBridge {
            bridge: bridge.to_owned(),
            source,
        })
    }

    pub(crate) fn connect(endpoint: &Endpoint, source: io::Error) -> Self {
        let (address, bridge) = (endpoint.main_address(), endpoint.network.bridge.clone());
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
