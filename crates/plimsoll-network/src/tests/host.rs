//! A pretended host in a network namespace of its own, and the world around it in another one.
//!
//! ```text
//! world 192.0.2.1 --- eth0 192.0.2.2 host --- bridge --- containers
//! ```

use camino::Utf8PathBuf;
use plimsoll_store::Store;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::Command;
use std::time::Duration;

use crate::namespace::{connect, inside};
use crate::{Endpoint, Network, Networks, namespace};

pub(super) const WORLD: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(super) const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
pub(super) const WORLD6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
pub(super) const HOST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
/// Smaller than Ethernet's, so that a test sees it honoured.
pub(super) const MTU: u32 = 1400;
/// Containers' devices have no IPv6 unless told otherwise, but these are no containers.
const IPV6: &str =
    "for device in default eth0; do echo 0 > /proc/sys/net/ipv6/conf/$device/disable_ipv6; done";
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) struct Host {
    pub(super) namespace: OwnedFd,
    pub(super) world: OwnedFd,
}

impl Host {
    /// A host whose default route leads into the world.
    pub(super) fn new() -> Self {
        let (namespace, world) = (
            namespace().expect("a namespace"),
            namespace().expect("a namespace"),
        );
        let host = Self { namespace, world };
        let outside = format!("/proc/{}/fd/{}", std::process::id(), host.world.as_raw_fd());
        host.sh(&format!(
            "ip link add eth0 mtu {MTU} type veth peer name eth0 netns {outside} mtu {MTU}
             {IPV6}
             ip address add {HOST}/24 dev eth0
             ip address add {HOST6}/64 dev eth0 nodad
             ip link set eth0 up"
        ));
        host.sh_in(
            &host.world,
            &format!(
                "{IPV6}
                 ip address add {WORLD}/24 dev eth0; ip address add {WORLD6}/64 dev eth0 nodad
                 ip link set eth0 up; ip route add default via {HOST}; ip route add default via {HOST6}"
            ),
        );
        host.sh(&format!(
            "ip route add default via {WORLD}; ip route add default via {WORLD6}"
        ));
        host
    }

    /// Runs `work` as if the program ran on this host.
    pub(super) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        inside(self.namespace.as_fd(), || Ok(work())).expect("the host's namespace")
    }

    pub(super) fn sh(&self, script: &str) -> String {
        self.sh_in(&self.namespace, script)
    }

    pub(super) fn sh_in(&self, place: &OwnedFd, script: &str) -> String {
        let run = || Command::new("sh").args(["-ec", script]).output();
        let output = inside(place.as_fd(), run).expect("sh");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{script}: {error}");
        String::from_utf8(output.stdout).expect("text") + &error
    }
}

/// A store in a temporary folder.
pub(super) struct Root {
    pub(super) store: Store,
    _folder: tempfile::TempDir,
}

impl Root {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = Utf8PathBuf::from_path_buf(folder.path().to_owned()).expect("text");
        let store = Store::open(&path.join("root"), &path.join("run")).expect("a store");
        Self {
            store,
            _folder: folder,
        }
    }

    pub(super) fn networks(&self) -> Networks {
        Networks::new(&self.store)
    }
}

/// A container, as far as the network is concerned.
pub(super) struct Container {
    pub(super) namespace: OwnedFd,
    pub(super) endpoint: Endpoint,
}

impl Container {
    pub(super) fn new(host: &Host, root: &Root, name: &str) -> Self {
        let networks = root.networks();
        host.run(|| {
            let network = networks.default_bridge().expect("a bridge");
            Self::on(&networks, &network, name)
        })
    }

    pub(super) fn on(networks: &Networks, network: &Network, name: &str) -> Self {
        let endpoint = networks.allocate(network, name).expect("an address");
        let namespace = namespace().expect("a namespace");
        connect(namespace.as_fd(), &endpoint).expect("a connection");
        Self { namespace, endpoint }
    }

    /// A container on networks of its own.
    pub(super) fn joined(host: &Host, root: &Root, name: &str, network: &str) -> Self {
        let networks = root.networks();
        host.run(|| {
            let mut endpoints = networks.join(name, network).expect("places");
            let namespace = namespace().expect("a namespace");
            for endpoint in &endpoints {
                connect(namespace.as_fd(), endpoint).expect("a connection");
            }
            let endpoint = endpoints.remove(0);
            Self { namespace, endpoint }
        })
    }
}

/// Answers every connection to `port` in `place`, of either family, with the address it came from.
pub(super) fn serve(place: &OwnedFd, port: u16) {
    let listener =
        inside(place.as_fd(), || TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))).expect("a port");
    std::thread::spawn(move || {
        while let Ok((mut stream, peer)) = listener.accept() {
            let _ = stream.write_all(peer.ip().to_canonical().to_string().as_bytes());
        }
    });
}

/// As [`serve`], for datagrams.
pub(super) fn serve_udp(place: &OwnedFd, port: u16) {
    let socket = inside(place.as_fd(), || UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port))).expect("a port");
    std::thread::spawn(move || {
        while let Ok((_, peer)) = socket.recv_from(&mut [0; 16]) {
            let _ = socket.send_to(peer.ip().to_canonical().to_string().as_bytes(), peer);
        }
    });
}

/// Connects from `place` and returns as whom the server saw it.
pub(super) fn ask(place: &OwnedFd, server: impl Into<IpAddr>, port: u16) -> io::Result<String> {
    let server = SocketAddr::new(server.into(), port);
    inside(place.as_fd(), || {
        let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    })
}

pub(super) fn ask_udp(place: &OwnedFd, server: impl Into<IpAddr>, port: u16) -> io::Result<String> {
    let server = SocketAddr::new(server.into(), port);
    inside(place.as_fd(), || {
        let socket = match server {
            SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?,
            SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?,
        };
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.connect(server)?;
        socket.send(b"?")?;
        let mut answer = [0; 64];
        let length = socket.recv(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
    })
}
