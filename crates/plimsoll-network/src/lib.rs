//! Bridges, addresses, published ports.
#![allow(missing_docs)]
use plimsoll_store::Store;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{BorrowedFd, OwnedFd};

#[derive(Debug, thiserror::Error)]
pub enum NetworkError { #[error("io")] Io(#[from] std::io::Error), #[error("db")] Db(#[from] rusqlite::Error), #[error("store")] Store(#[from] plimsoll_store::StoreError) }

pub struct Networks { pub store: Store }
/// A bridge network.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Network { pub id: String, pub name: String, /// Interface on the host: `pl<8 hex><n>`.
    pub bridge: String, pub subnet: Ipv4Addr, pub prefix: u8, pub gateway: Ipv4Addr, pub mtu: u32 }
/// A container's place in a network; enough for [`connect`] without the database.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Endpoint { pub network: Network, pub address: Ipv4Addr, /// 02:42:...
    pub mac: String, /// Host end of the veth pair.
    pub host_interface: String }
impl Networks {
    pub fn new(store: &Store) -> Self { Self { store: store.clone() } }
    /// The default bridge, made on first use: subnet free of the host's routes, device, address, forwarding, nft table with masquerade, and the accept rules where a foreign
    /// firewall drops forwarded packets. Cheap when it stands already.
    pub fn default_bridge(&self) -> Result<Network, NetworkError> { unimplemented!() }
    /// A free address for `container`; kept until released.
    pub fn allocate(&self, network: &Network, container: &str) -> Result<Endpoint, NetworkError> { let _ = (network, container); unimplemented!() }
    pub fn release(&self, container: &str) -> Result<(), NetworkError> { let _ = container; unimplemented!() }
}
/// A new network namespace with loopback up, made on a thread of its own.
pub fn namespace() -> Result<OwnedFd, NetworkError> { unimplemented!() }
/// veth pair with its peer made inside `ns` as eth0, address, default route.
pub fn connect(ns: BorrowedFd<'_>, endpoint: &Endpoint) -> Result<(), NetworkError> { let _ = (ns, endpoint); unimplemented!() }
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Protocol { Tcp, Udp }
/// `-p [IP:][HOST]:PORT[/proto]`; `host_port` 0 means any free one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRequest { pub host_ip: Option<IpAddr>, pub host_port: u16, pub container_port: u16, pub protocol: Protocol }
impl PortRequest {
    /// Docker's grammar with ranges: one text may ask for several ports.
    pub fn parse(text: &str) -> Result<Vec<Self>, String> { let _ = text; unimplemented!() }
}
/// A port held on the host.
pub struct BoundPort { pub published: PublishedPort, /// Listening sockets (tcp) or bound sockets (udp); IPv4 and, without host IP, IPv6.
    pub sockets: Vec<OwnedFd> }
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPort { pub host_ip: IpAddr, pub host_port: u16, pub container_port: u16, pub protocol: Protocol }
/// Binds; a taken one is the error Docker users know: `Bind for 0.0.0.0:80 failed: port is already allocated`.
pub fn bind(request: &PortRequest) -> Result<BoundPort, NetworkError> { let _ = request; unimplemented!() }
/// Adds the DNAT rules of one container in one nft run. Needs no database.
pub fn publish(instance: u32, endpoint: &Endpoint, ports: &[PublishedPort]) -> Result<(), NetworkError> { let _ = (instance, endpoint, ports); unimplemented!() }
/// Takes them away; fine when they are gone.
pub fn unpublish(instance: u32, endpoint: &Endpoint, ports: &[PublishedPort]) -> Result<(), NetworkError> { let _ = (instance, endpoint, ports); unimplemented!() }
/// The resolv.conf a container on a bridge gets: the host's, without loopback servers.
pub fn resolv_conf() -> String { unimplemented!() }
