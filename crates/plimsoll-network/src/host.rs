//! What of the host concerns its networks: the lock, forwarding, and which addresses are taken.

use camino::Utf8Path;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;

use crate::netlink::Netlink;
use crate::subnet::Subnet;
use crate::{NetworkError, resolver};

/// Ethernet's, for a host without a default route.
const DEFAULT_MTU: u32 = 1500;
/// One for the whole host, whatever the store: see [`HostLock`].
const HOST_LOCK: &str = "/run/plimsoll-network.lock";
const IP_FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";
const IP_FORWARD6: &str = "/proc/sys/net/ipv6/conf/all/forwarding";

/// Held while a subnet is chosen and until its bridge is there for others to see.
///
/// It lies outside every store: two stores on one host must not choose the same subnet.
pub(crate) struct HostLock {
    _file: File,
}

impl HostLock {
    pub(crate) fn take() -> Result<Self, NetworkError> {
        Self::take_at(HOST_LOCK.into())
    }

    pub(crate) fn take_at(path: &Utf8Path) -> Result<Self, NetworkError> {
        let take = || {
            let file = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .mode(0o600)
                .open(path)?;
            flock(&file, FlockOperation::LockExclusive)?;
            Ok(file)
        };
        let file = take().map_err(|source| NetworkError::Lock {
            path: path.into(),
            source,
        })?;
        Ok(Self { _file: file })
    }
}

/// What a new subnet must keep away from, but for the addresses and routes of the device `own`.
pub(crate) fn taken(netlink: &mut Netlink, own: Option<u32>) -> Result<Vec<Subnet>, NetworkError> {
    // A route for half of everything is a VPN's default route; keeping away from it would leave nothing.
    const SHORTEST: u8 = 8;
    let routes = netlink
        .routes()
        .map_err(|source| NetworkError::read("routes", source))?;
    let addresses = addresses(netlink, own)?;
    let routes = routes
        .into_iter()
        .filter(|route| route.device.is_none() || route.device != own);
    let servers = resolver::servers()
        .into_iter()
        .map(|server| Subnet::new(server, 128));
    let subnets = routes
        .map(|route| route.destination)
        .filter(|subnet| subnet.prefix() >= SHORTEST);
    Ok(subnets.chain(addresses).chain(servers).collect())
}

/// The subnets that the host's devices are on, but for those of `own`.
pub(crate) fn addresses(netlink: &mut Netlink, own: Option<u32>) -> Result<Vec<Subnet>, NetworkError> {
    let addresses = netlink
        .addresses()
        .map_err(|source| NetworkError::read("addresses", source))?;
    let others = addresses
        .into_iter()
        .filter(|address| Some(address.device) != own);
    Ok(others.map(|address| address.subnet).collect())
}

/// The MTU of the device the host's default route leaves by: larger packets from containers would not get through.
pub(crate) fn default_mtu(netlink: &mut Netlink) -> Result<u32, NetworkError> {
    let mut read = || -> io::Result<u32> {
        let routes = netlink.routes()?;
        let default = routes
            .iter()
            .filter(|route| route.destination.prefix() == 0 && !route.destination.is_ipv6())
            .min_by_key(|route| route.metric);
        let Some(device) = default.and_then(|route| route.device) else {
            return Ok(DEFAULT_MTU);
        };
        let links = netlink.links()?;
        Ok(links
            .iter()
            .find(|link| link.index == device)
            .map_or(DEFAULT_MTU, |link| link.mtu))
    };
    read().map_err(|source| NetworkError::read("routes", source))
}

/// Lets packets pass between devices.
pub(crate) fn enable_forwarding(ipv6: bool) -> Result<(), NetworkError> {
    switch_on(IP_FORWARD)?;
    if ipv6 && !is_on(IP_FORWARD6)? {
        keep_router_advertisements();
        switch_on(IP_FORWARD6)?;
    }
    Ok(())
}

/// A host that forwards stops listening to its routers, and so loses the default route it has from them, unless
/// `accept_ra` is 2 (Documentation/networking/ip-sysctl).
fn keep_router_advertisements() {
    for device in fs::read_dir("/proc/sys/net/ipv6/conf")
        .into_iter()
        .flatten()
        .flatten()
    {
        let path = device.path().join("accept_ra");
        if device.file_name() != "all" && fs::read_to_string(&path).is_ok_and(|text| text.trim() == "1") {
            set(&path.to_string_lossy(), "2");
        }
    }
}

fn is_on(path: &str) -> Result<bool, NetworkError> {
    let text = fs::read_to_string(path).map_err(forwarding(path))?;
    Ok(text.trim() == "1")
}

fn switch_on(path: &str) -> Result<(), NetworkError> {
    if is_on(path)? {
        return Ok(());
    }
    fs::write(path, "1").map_err(forwarding(path))
}

fn forwarding(path: &str) -> impl FnOnce(io::Error) -> NetworkError {
    let path = path.into();
    move |source| NetworkError::Forwarding { path, source }
}

/// A setting that is nice to have; old kernels lack some of them, and /proc may be read-only.
pub(crate) fn set(path: &str, value: &str) {
    if let Err(error) = fs::write(path, value) {
        tracing::debug!(path, %error, "network setting not written");
    }
}
