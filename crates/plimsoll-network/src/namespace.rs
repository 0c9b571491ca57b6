//! Network namespaces, and a container's way into its bridge.

use plimsoll_linux::UnshareFlags;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::{self, File};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use crate::netlink::Netlink;
use crate::subnet::Subnet;
use crate::{Endpoint, NetworkError};

/// What a container calls its device.
const INTERFACE: &str = "eth0";

/// Returns a new network namespace with loopback up; it lasts as long as the descriptor or a process inside.
///
/// It is made on a thread of its own, so the caller stays where it is. As in Docker's containers, every user may listen on
/// ports below 1024 and send pings, and new devices have no IPv6 (loopback has `::1`).
pub fn namespace() -> Result<OwnedFd, NetworkError> {
    std::thread::scope(|scope| {
        scope
            .spawn(make_namespace)
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("thread died")))
    })
    .map_err(NetworkError::namespace)
}

fn make_namespace() -> io::Result<OwnedFd> {
    #[expect(
        deprecated,
        reason = "deprecated because of CLONE_FILES, which is not asked for here"
    )]
    rustix::thread::unshare(UnshareFlags::NEWNET)?;
    set("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
    set("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
    set("/proc/sys/net/ipv4/ping_group_range", "0 2147483647");
    let mut netlink = Netlink::open()?;
    if let Some(loopback) = netlink.link("lo")? {
        netlink.set_up(loopback.index)?;
    }
    // Not /proc/self: that is the namespace of the process's first thread.
    Ok(File::open("/proc/thread-self/ns/net")?.into())
}

/// A setting that is nice to have; old kernels lack some of them, and /proc may be read-only.
fn set(path: &str, value: &str) {
    if let Err(error) = fs::write(path, value) {
        tracing::debug!(path, %error, "network setting not written");
    }
}

/// Runs `work` on a thread that lives in `namespace`.
pub(crate) fn inside<T: Send>(
    namespace: BorrowedFd<'_>,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?;
            work()
        });
        thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("thread died")))
    })
}

/// Joins a namespace to its network: a veth pair whose inner end `eth0` gets the address and the default route.
///
/// Threads are used, so the single-threaded shim must not call this.
pub fn connect(ns: BorrowedFd<'_>, endpoint: &Endpoint) -> Result<(), NetworkError> {
    let mut outside = Netlink::open().map_err(|source| NetworkError::connect(endpoint, source))?;
    let bridge = outside
        .link(&endpoint.network.bridge)
        .map_err(|source| NetworkError::connect(endpoint, source))?
        .ok_or_else(|| NetworkError::BridgeGone {
            bridge: endpoint.network.bridge.clone(),
        })?;
    plug(&mut outside, bridge.index, ns, endpoint).map_err(|source| NetworkError::connect(endpoint, source))
}

fn plug(outside: &mut Netlink, bridge: u32, ns: BorrowedFd<'_>, endpoint: &Endpoint) -> io::Result<()> {
    let host = &endpoint.host_interface;
    // The device of an earlier life of this container may still be on its way out.
    if let Some(stale) = outside.link(host)? {
        outside.remove_link(stale.index)?;
    }
    let hardware = crate::hardware_address(endpoint.address);
    outside.add_veth(host, bridge, endpoint.network.mtu, ns, INTERFACE, hardware)?;
    let link = outside.link(host)?.ok_or(io::ErrorKind::NotFound)?;
    let result = bring_up(outside, link.index, ns, endpoint);
    if result.is_err() {
        outside.remove_link(link.index)?;
    }
    result
}

fn bring_up(outside: &mut Netlink, link: u32, ns: BorrowedFd<'_>, endpoint: &Endpoint) -> io::Result<()> {
    let network = &endpoint.network;
    set(
        &format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", endpoint.host_interface),
        "1",
    );
    outside.set_port_up(link)?;
    let mut inner = inside(ns, Netlink::open)?;
    let eth0 = inner.link(INTERFACE)?.ok_or(io::ErrorKind::NotFound)?;
    inner.add_address(
        eth0.index,
        endpoint.address,
        Subnet::new(network.subnet, network.prefix),
    )?;
    inner.set_up(eth0.index)?;
    inner.add_default_route(eth0.index, network.gateway)
}
