//! Holding ports on the host.
//!
//! Every published port is bound by the container's shim for as long as it is published, also where packets never reach the
//! socket because they are redirected before: so the kernel itself says when a port is taken.

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, getsockname, ipproto, listen, socket_with, sockopt,
};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use crate::{NetworkError, PortRequest, Protocol, PublishedPort};

const BACKLOG: i32 = 512;
/// How often a random port is drawn again because its number is taken for IPv6.
const DRAWS: usize = 64;

/// A port held on the host, by a listening socket (tcp) or a bound one (udp).
#[derive(Debug)]
pub struct BoundPort {
    /// What is held; the host port is never 0.
    pub published: PublishedPort,
    /// By which it is held.
    pub socket: OwnedFd,
}

/// Binds a port, and listens on it for tcp.
///
/// Without a host address it is bound for IPv4 and, where the host has it, for IPv6 with the same number: two, in this order.
/// Of a range of host ports the first free one is taken. A taken port is the error Docker users know: `Bind for 0.0.0.0:80
/// failed: port is already allocated`.
pub fn bind(request: &PortRequest) -> Result<Vec<BoundPort>, NetworkError> {
    let address = request.first_address();
    if let Some(last) = request.last_host_port {
        let one = |host_port| PortRequest {
            host_port,
            last_host_port: None,
            ..request.clone()
        };
        let taken = |result: &Result<_, _>| matches!(result, Err(NetworkError::PortTaken { .. }));
        let free = (request.host_port..=last)
            .map(|port| bind(&one(port)))
            .find(|result| !taken(result));
        return free.unwrap_or(Err(NetworkError::RangeTaken { address, last }));
    }
    let draws = if request.host_port == 0 { DRAWS } else { 1 };
    for _ in 0..draws {
        let first = hold(request, address)?;
        if request.host_ip.is_some() {
            return Ok(vec![first]);
        }
        let second = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), first.published.host_port);
        match hold(request, second) {
            Ok(second) => return Ok(vec![first, second]),
            Err(NetworkError::PortTaken { .. }) if request.host_port == 0 => {}
            Err(NetworkError::Bind { source, .. }) if has_no_ipv6(&source) => return Ok(vec![first]),
            Err(error) => return Err(error),
        }
    }
    Err(NetworkError::PortTaken { address })
}

fn hold(request: &PortRequest, address: SocketAddr) -> Result<BoundPort, NetworkError> {
    let (socket, bound) = open(address, request.protocol).map_err(|error| failure(address, error))?;
    let published = PublishedPort {
        host_ip: bound.ip(),
        host_port: bound.port(),
        container_port: request.container_port,
        protocol: request.protocol,
    };
    Ok(BoundPort { published, socket })
}

fn has_no_ipv6(error: &io::Error) -> bool {
    let codes = [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

/// One socket and the address it got.
fn open(address: SocketAddr, protocol: Protocol) -> Result<(OwnedFd, SocketAddr), Errno> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let (kind, transport) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, ipproto::TCP),
        Protocol::Udp => (SocketType::DGRAM, ipproto::UDP),
    };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, Some(transport))?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if protocol == Protocol::Tcp {
        // Or a port whose last connections linger in TIME_WAIT could not be had; it does not allow two listeners. For UDP it
        // would allow two owners.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    if protocol == Protocol::Tcp {
        listen(&socket, BACKLOG)?;
    }
    let bound = SocketAddr::try_from(getsockname(&socket)?).map_err(|_| Errno::AFNOSUPPORT)?;
    Ok((socket, bound))
}

fn failure(address: SocketAddr, error: Errno) -> NetworkError {
    match error {
        Errno::ADDRINUSE => NetworkError::PortTaken { address },
        error => NetworkError::Bind {
            address,
            source: io::Error::from(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream, UdpSocket};

    fn request(text: &str) -> PortRequest {
        PortRequest::parse(text).expect("valid").remove(0)
    }

    #[test]
    fn a_random_port_is_the_same_for_both_families() {
        let bound = bind(&request("80")).expect("a free port");
        let port = bound[0].published.host_port;
        assert_ne!(port, 0);
        assert_eq!(bound[0].published.host_ip.to_string(), "0.0.0.0");
        for bound in &bound {
            let address = getsockname(&bound.socket).expect("bound");
            let address = SocketAddr::try_from(address).expect("an address");
            assert_eq!(address, SocketAddr::new(bound.published.host_ip, port));
        }
        assert!(TcpStream::connect(("127.0.0.1", port)).is_ok(), "it listens");
    }

    #[test]
    fn a_taken_port_is_said_as_docker_says_it() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = taken.local_addr().expect("bound").port();
        for (asked, shown) in [(String::new(), "0.0.0.0"), ("127.0.0.1:".to_owned(), "127.0.0.1")] {
            let error = bind(&request(&format!("{asked}{port}:80"))).expect_err("taken");
            let expected = format!("Bind for {shown}:{port} failed: port is already allocated");
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn of_a_range_the_first_free_port_is_taken() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = taken.local_addr().expect("bound").port().min(65_500);
        let bound = bind(&request(&format!("127.0.0.1:{port}-{}:80", port + 30))).expect("one is free");
        assert_ne!(
            bound[0].published.host_port,
            taken.local_addr().expect("bound").port()
        );
        let full = format!("127.0.0.1:{0}-{0}:80", taken.local_addr().expect("bound").port());
        assert!(bind(&request(&full)).is_err());
    }

    #[test]
    fn two_owners_of_a_udp_port_are_refused() {
        let taken = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let port = taken.local_addr().expect("bound").port();
        assert!(bind(&request(&format!("127.0.0.1:{port}:53/udp"))).is_err());
        assert!(
            bind(&request(&format!("127.0.0.1:{port}:53/tcp"))).is_ok(),
            "another protocol, another port"
        );
    }

    #[test]
    fn an_address_of_somebody_else_is_refused() {
        let error = bind(&request("203.0.113.7:0:80")).expect_err("not ours");
        assert_eq!(error.to_string(), "cannot listen on 203.0.113.7:0");
    }
}
