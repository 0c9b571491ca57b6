//! Network namespaces, and a container's way into its bridges.

use plimsoll_linux::UnshareFlags;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};
use std::os::fd::{BorrowedFd, OwnedFd};

use crate::host::set;
use crate::netlink::Netlink;
use crate::subnet::Subnet;
use crate::{Endpoint, NetworkError, nft};

/// Where a container on a user network asks for names.
const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

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
    if let Some(loopback) = netlink.index("lo")? {
        netlink.set_up(loopback)?;
    }
    // Not /proc/self: that is the namespace of the process's first thread.
    Ok(File::open("/proc/thread-self/ns/net")?.into())
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

/// Joins a namespace to its network: a veth pair whose inner end gets the addresses and, where it is the endpoint's, the
/// default route.
///
/// Threads are used, so the single-threaded shim must not call this.
pub(crate) fn connect(ns: BorrowedFd<'_>, endpoint: &Endpoint) -> Result<(), NetworkError> {
    let failed = |source| NetworkError::connect(endpoint, source);
    let mut outside = Netlink::open().map_err(failed)?;
    let bridge = outside.index(&endpoint.network.bridge).map_err(failed)?;
    let bridge = bridge.ok_or_else(|| NetworkError::BridgeGone {
        bridge: endpoint.network.bridge.clone(),
    })?;
    plug(&mut outside, bridge, ns, endpoint).map_err(failed)
}

/// Takes an endpoint's devices away; fine when they are gone.
pub(crate) fn disconnect(endpoint: &Endpoint) -> Result<(), NetworkError> {
    let remove = || {
        let mut outside = Netlink::open()?;
        match outside.index(&endpoint.host_interface)? {
            Some(index) => outside.remove_link(index),
            None => Ok(()),
        }
    };
    remove().map_err(|source| NetworkError::connect(endpoint, source))
}

/// Makes the default routes inside a namespace those of the endpoints that are to have them.
pub fn set_default_routes(ns: BorrowedFd<'_>, endpoints: &[Endpoint]) -> Result<(), NetworkError> {
    for endpoint in endpoints
        .iter()
        .filter(|endpoint| endpoint.default_route || endpoint.default_route6)
    {
        let route = || {
            let mut inner = Netlink::open()?;
            let device = inner.index(&endpoint.interface)?.ok_or(io::ErrorKind::NotFound)?;
            inner.furnish(device, &[], &gateways(endpoint))
        };
        inside(ns, route).map_err(|source| NetworkError::connect(endpoint, source))?;
    }
    Ok(())
}

fn plug(outside: &mut Netlink, bridge: u32, ns: BorrowedFd<'_>, endpoint: &Endpoint) -> io::Result<()> {
    let (host, inner) = (&endpoint.host_interface, &endpoint.interface);
    let hardware = parse_hardware(&endpoint.mac)?;
    outside.add_veth(host, bridge, endpoint.network.mtu, ns, inner, hardware)?;
    let link = outside.index(host)?.ok_or(io::ErrorKind::NotFound)?;
    let result = bring_up(outside, link, hardware, ns, endpoint);
    if result.is_err() {
        outside.remove_link(link)?;
    }
    result
}

fn bring_up(
    outside: &mut Netlink,
    link: u32,
    hardware: [u8; 6],
    ns: BorrowedFd<'_>,
    endpoint: &Endpoint,
) -> io::Result<()> {
    let network = &endpoint.network;
    set(
        &format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", endpoint.host_interface),
        "1",
    );
    outside.set_port_up(link, hardware, !network.allows("enable_icc"))?;
    inside(ns, || {
        let mut inner = Netlink::open()?;
        let device = inner.index(&endpoint.interface)?.ok_or(io::ErrorKind::NotFound)?;
        let four = endpoint.subnet4();
        let four = four.map(|(address, subnet, _)| (address.into(), subnet));
        let mut addresses: Vec<(IpAddr, Subnet)> = four.into_iter().collect();
        let more = endpoint.options.link_local.iter();
        let more = more.map(|address| (*address, Subnet::link_local(*address)));
        let six = endpoint
            .subnet6()
            .map(|(address, subnet, _)| (address.into(), subnet));
        addresses.extend(more.chain(six));
        if addresses.iter().any(|(address, _)| address.is_ipv6()) {
            let of_device = format!("/proc/sys/net/ipv6/conf/{}", endpoint.interface);
            set(&format!("{of_device}/disable_ipv6"), "0");
            set(&format!("{of_device}/accept_ra"), "0");
        }
        let settings = endpoint
            .options
            .settings(&endpoint.interface)
            .map_err(io::Error::other)?;
        for (path, value) in settings {
            std::fs::write(path, value)?;
        }
        inner.furnish(device, &addresses, &gateways(endpoint))
    })
}

/// Where the container sends what no other route knows.
fn gateways(endpoint: &Endpoint) -> Vec<IpAddr> {
    let four = endpoint.subnet4().map(|(.., gateway)| gateway);
    let six = endpoint.subnet6().map(|(.., gateway)| gateway);
    four.filter(|_| endpoint.default_route)
        .into_iter()
        .chain(six.filter(|_| endpoint.default_route6))
        .collect()
}

/// `02:42:ac:11:00:02`
fn parse_hardware(text: &str) -> io::Result<[u8; 6]> {
    let bytes: Option<Vec<u8>> = text
        .split([':', '-'])
        .map(|byte| u8::from_str_radix(byte, 16).ok())
        .collect();
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("invalid MAC address `{text}`"),
        )
    })
}

/// The sockets of a namespace's name server, to be read by whoever answers.
#[derive(Debug)]
pub struct NameSockets {
    /// Datagrams.
    pub udp: OwnedFd,
    /// Connections, listened for.
    pub tcp: OwnedFd,
}

/// Makes 127.0.0.11 a name server inside a namespace: what goes to its port 53 arrives at the sockets.
///
/// They have ports of their own choice, so a program inside may have port 53 for itself. Uses threads.
pub fn name_service(ns: BorrowedFd<'_>) -> Result<NameSockets, NetworkError> {
    let open = || -> io::Result<_> {
        let udp = UdpSocket::bind((NAME_SERVER, 0))?;
        let tcp = TcpListener::bind((NAME_SERVER, 0))?;
        let script = redirect(udp.local_addr()?.port(), tcp.local_addr()?.port());
        let sockets = NameSockets {
            udp: udp.into(),
            tcp: tcp.into(),
        };
        Ok((sockets, nft::run(&script)))
    };
    let (sockets, redirected) = inside(ns, open).map_err(NetworkError::namespace)?;
    redirected?;
    Ok(sockets)
}

fn redirect(udp: u16, tcp: u16) -> String {
    format!(
        "add table ip plimsoll
delete table ip plimsoll
table ip plimsoll {{
  chain output {{
    type nat hook output priority -100; policy accept;
    ip daddr {NAME_SERVER} udp dport 53 dnat to {NAME_SERVER}:{udp}
    ip daddr {NAME_SERVER} tcp dport 53 dnat to {NAME_SERVER}:{tcp}
  }}
}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_addresses() {
        let expected = [2, 0x42, 0xac, 0x11, 0, 2];
        assert_eq!(parse_hardware("02:42:ac:11:00:02").expect("valid"), expected);
        assert_eq!(parse_hardware("02-42-AC-11-00-02").expect("valid"), expected);
        for wrong in ["", "02:42:ac:11:00", "02:42:ac:11:00:02:03", "x2:42:ac:11:00:02"] {
            assert!(parse_hardware(wrong).is_err(), "{wrong}");
        }
    }
}
