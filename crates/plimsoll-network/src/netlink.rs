//! Blocking rtnetlink: one request, its answers.
//!
//! A socket stays in the network namespace it was opened in, whichever thread uses it later.

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST,
    NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{
    InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth, LinkAttribute, LinkFlags,
    LinkInfo, LinkMessage,
};
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use crate::subnet::Subnet;

/// The kernel sends at most 32 KiB in one piece of a dump.
const BUFFER: usize = 64 * 1024;
const NLMSG_ALIGNTO: usize = 4;
/// A dump interrupted by a change is asked for again this many times: while fifty containers start, changes are many.
const DUMP_ATTEMPTS: usize = 100;
/// Before the next.
const DUMP_PAUSE: Duration = Duration::from_millis(1);

/// A rtnetlink socket.
pub(crate) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

/// What is asked about a network device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) is_up: bool,
    pub(crate) mtu: u32,
    pub(crate) alias: Option<String>,
    /// Index of the bridge this device is a port of.
    pub(crate) master: Option<u32>,
}

/// A route of the host, as far as the choice of a subnet cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) destination: Subnet,
    pub(crate) device: Option<u32>,
    pub(crate) metric: u32,
}

/// An address of the host with its subnet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) subnet: Subnet,
    pub(crate) device: u32,
}

/// How one attempt at a dump ended.
enum Dump {
    Whole(Vec<RouteNetlinkMessage>),
    Interrupted,
}

impl Netlink {
    /// Opens a socket in the calling thread's network namespace.
    pub(crate) fn open() -> io::Result<Self> {
        let socket = socket_with(
            rustix::net::AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            // NETLINK_ROUTE is protocol 0, which rustix writes as none.
            None,
        )?;
        Ok(Self { socket, sequence: 0 })
    }

    /// The device called `name`, if there is one.
    pub(crate) fn link(&mut self, name: &str) -> io::Result<Option<Link>> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        let answers = match self.request(RouteNetlinkMessage::GetLink(message), 0) {
            Err(error) if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => return Ok(None),
            answers => answers?,
        };
        Ok(answers.into_iter().find_map(|answer| match answer {
            RouteNetlinkMessage::NewLink(message) => Some(read_link(&message)),
            _ => None,
        }))
    }

    /// Every device.
    pub(crate) fn links(&mut self) -> io::Result<Vec<Link>> {
        let answers = self.dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
        Ok(answers
            .iter()
            .filter_map(|answer| match answer {
                RouteNetlinkMessage::NewLink(message) => Some(read_link(message)),
                _ => None,
            })
            .collect())
    }

    /// Every route to hosts and networks, of both families and all tables.
    pub(crate) fn routes(&mut self) -> io::Result<Vec<Route>> {
        let message = RouteMessage::default();
        let answers = self.dump(RouteNetlinkMessage::GetRoute(message))?;
        Ok(answers
            .iter()
            .filter_map(|answer| match answer {
                RouteNetlinkMessage::NewRoute(message) if message.header.kind == RouteType::Unicast => {
                    read_route(message)
                }
                _ => None,
            })
            .collect())
    }

    /// Every address of both families.
    pub(crate) fn addresses(&mut self) -> io::Result<Vec<Address>> {
        let message = AddressMessage::default();
        let answers = self.dump(RouteNetlinkMessage::GetAddress(message))?;
        Ok(answers
            .iter()
            .filter_map(|answer| match answer {
                RouteNetlinkMessage::NewAddress(message) => read_address(message),
                _ => None,
            })
            .collect())
    }

    /// Makes a bridge, still down. Its hardware address is fixed: otherwise it would follow its ports and spoil the neighbour
    /// caches of containers.
    pub(crate) fn add_bridge(&mut self, name: &str, hardware: [u8; 6]) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::Address(hardware.to_vec()),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
        ];
        self.request(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
            .map(drop)
    }

    /// Makes a veth pair in one message: `host` as a port of the bridge `master`, and `peer` inside `namespace`.
    ///
    /// Far quicker than making both here and moving one. Both ends are down: IFF_UP in this message fails with ENOTCONN.
    pub(crate) fn add_veth(
        &mut self,
        host: &str,
        master: u32,
        mtu: u32,
        namespace: BorrowedFd<'_>,
        peer: &str,
        peer_hardware: [u8; 6],
    ) -> io::Result<()> {
        let mut inside = LinkMessage::default();
        inside.attributes = vec![
            LinkAttribute::IfName(peer.to_owned()),
            LinkAttribute::Address(peer_hardware.to_vec()),
            LinkAttribute::Mtu(mtu),
            LinkAttribute::NetNsFd(namespace.as_raw_fd()),
        ];
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(host.to_owned()),
            LinkAttribute::Mtu(mtu),
            LinkAttribute::Controller(master),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(inside))),
            ]),
        ];
        self.request(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
            .map(drop)
    }

    /// Sets the largest packet. A bridge whose MTU was never changed, even if it was made with one, follows its ports; a changed
    /// one stays.
    pub(crate) fn set_mtu(&mut self, index: u32, mtu: u32) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes.push(LinkAttribute::Mtu(mtu));
        self.request(RouteNetlinkMessage::SetLink(message), 0).map(drop)
    }

    /// Brings a device up.
    pub(crate) fn set_up(&mut self, index: u32) -> io::Result<()> {
        self.batch(vec![(RouteNetlinkMessage::SetLink(up(index)), 0)])
    }

    /// The number of the device called `name`: what a whole answer about it would cost is saved.
    pub(crate) fn index(&self, name: &str) -> io::Result<Option<u32>> {
        match rustix::net::netdevice::name_to_index(&self.socket, name) {
            Ok(index) => Ok(Some(index)),
            Err(Errno::NODEV) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Brings a port of a bridge up, and lets the bridge send packets back where they came from: a container that asks for
    /// a port it publishes itself gets its own packet back. An `isolated` port reaches no other isolated one.
    ///
    /// Packets for `hardware` go to this port from now on: the bridge may still know it behind the port of an earlier life of
    /// the container, which goes when the kernel finds the time.
    pub(crate) fn set_port_up(&mut self, index: u32, hardware: [u8; 6], isolated: bool) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        let mut port = vec![InfoBridgePort::HairpinMode(true)];
        if isolated {
            port.push(InfoBridgePort::Isolated(true));
        }
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(port)),
        ]));
        let mut entry = NeighbourMessage::default();
        entry.header.family = AddressFamily::Bridge;
        entry.header.ifindex = index;
        entry.header.state = NeighbourState::Noarp;
        entry.header.flags = NeighbourFlags::Controller;
        entry.attributes = vec![NeighbourAttribute::LinkLayerAddress(hardware.to_vec())];
        self.batch(vec![
            // Without NLM_F_CREATE this changes the device that is there; RTM_SETLINK does not read what belongs to its bridge.
            (RouteNetlinkMessage::NewLink(message), 0),
            (
                RouteNetlinkMessage::NewNeighbour(entry),
                NLM_F_CREATE | NLM_F_REPLACE,
            ),
        ])
    }

    /// Writes a device's description (`ip link show` prints it as alias).
    pub(crate) fn set_alias(&mut self, index: u32, alias: &str) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes.push(LinkAttribute::IfAlias(alias.to_owned()));
        self.request(RouteNetlinkMessage::SetLink(message), 0).map(drop)
    }

    /// Removes a device; fine when it is gone.
    pub(crate) fn remove_link(&mut self, index: u32) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        match self.request(RouteNetlinkMessage::DelLink(message), 0) {
            Err(error) if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// Gives a device an address; fine when it has it.
    pub(crate) fn add_address(&mut self, index: u32, address: IpAddr, subnet: Subnet) -> io::Result<()> {
        self.batch(vec![new_address(index, address, subnet)])
    }

    /// Gives a device addresses, brings it up, and sends whatever no other route knows to the gateways.
    pub(crate) fn furnish(
        &mut self,
        index: u32,
        addresses: &[(IpAddr, Subnet)],
        gateways: &[IpAddr],
    ) -> io::Result<()> {
        let addresses = addresses
            .iter()
            .map(|(address, subnet)| new_address(index, *address, *subnet));
        let gateways = gateways.iter().map(|gateway| new_default_route(index, *gateway));
        let up = (RouteNetlinkMessage::SetLink(up(index)), 0);
        self.batch(addresses.chain([up]).chain(gateways).collect())
    }

    /// Sends all messages at once and reads all answers; the first failure is returned.
    fn batch(&mut self, messages: Vec<(RouteNetlinkMessage, u16)>) -> io::Result<()> {
        let mut waiting = messages.len();
        let first = self.sequence + 1;
        let mut bytes = Vec::new();
        for (message, flags) in messages {
            bytes.extend(self.serialize(message, flags | NLM_F_ACK));
        }
        send(&self.socket, &bytes, SendFlags::empty())?;
        let mut buffer = vec![0_u8; BUFFER];
        let mut result = Ok(());
        while waiting > 0 {
            let (_, length) = recv(&self.socket, &mut buffer[..], RecvFlags::empty())?;
            let mut rest = &buffer[..length.min(BUFFER)];
            while let Some((piece, after)) = split(rest) {
                rest = after;
                let Ok(answer) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(piece) else {
                    continue;
                };
                if let NetlinkPayload::Error(error) = answer.payload
                    && answer.header.sequence_number >= first
                {
                    waiting -= 1;
                    if error.code.is_some() && result.is_ok() {
                        result = Err(error.to_io());
                    }
                }
            }
        }
        result
    }

    fn dump(&mut self, message: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        for _ in 0..DUMP_ATTEMPTS {
            if let Dump::Whole(answers) = self.exchange(message.clone(), NLM_F_DUMP)? {
                return Ok(answers);
            }
            std::thread::sleep(DUMP_PAUSE);
        }
        Err(Errno::INTR.into())
    }

    fn request(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
        match self.exchange(message, flags | NLM_F_ACK)? {
            Dump::Whole(answers) => Ok(answers),
            Dump::Interrupted => Ok(Vec::new()),
        }
    }

    /// Sends one message and reads until the kernel says that this was all.
    fn exchange(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<Dump> {
        self.send(message, flags)?;
        let mut buffer = vec![0_u8; BUFFER];
        let mut answers = Vec::new();
        let mut is_whole = true;
        loop {
            let (_, length) = recv(&self.socket, &mut buffer[..], RecvFlags::empty())?;
            let mut rest = &buffer[..length.min(BUFFER)];
            while let Some((piece, after)) = split(rest) {
                rest = after;
                let answer = match NetlinkMessage::<RouteNetlinkMessage>::deserialize(piece) {
                    Ok(answer) => answer,
                    Err(error) => {
                        // A newer kernel may describe a device in words this crate does not know.
                        tracing::debug!(%error, "netlink answer not understood");
                        continue;
                    }
                };
                if answer.header.sequence_number != self.sequence {
                    continue;
                }
                is_whole &= answer.header.flags & NLM_F_DUMP_INTR == 0;
                match answer.payload {
                    NetlinkPayload::Done(_) if is_whole => return Ok(Dump::Whole(answers)),
                    NetlinkPayload::Done(_) => return Ok(Dump::Interrupted),
                    NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                    NetlinkPayload::Error(_) => return Ok(Dump::Whole(answers)),
                    NetlinkPayload::InnerMessage(message) => answers.push(message),
                    _ => {}
                }
            }
        }
    }

    fn send(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        let bytes = self.serialize(message, flags);
        send(&self.socket, &bytes, SendFlags::empty())?;
        Ok(())
    }

    fn serialize(&mut self, message: RouteNetlinkMessage, flags: u16) -> Vec<u8> {
        self.sequence += 1;
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len().next_multiple_of(NLMSG_ALIGNTO)];
        message.serialize(&mut bytes[..]);
        bytes
    }
}

fn up(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message
}

fn new_address(index: u32, address: IpAddr, subnet: Subnet) -> (RouteNetlinkMessage, u16) {
    let mut message = AddressMessage::default();
    message.header.family = family(address);
    message.header.prefix_len = subnet.prefix();
    message.header.index = index;
    message.attributes = vec![
        AddressAttribute::Local(address),
        AddressAttribute::Address(address),
    ];
    match subnet.last() {
        IpAddr::V4(last) => message.attributes.push(AddressAttribute::Broadcast(last)),
        // Addresses are given out here, so nobody else has it: asking around would make it unusable for a second.
        IpAddr::V6(_) => message
            .attributes
            .push(AddressAttribute::Flags(AddressFlags::Nodad)),
    }
    (
        RouteNetlinkMessage::NewAddress(message),
        NLM_F_CREATE | NLM_F_REPLACE,
    )
}

fn new_default_route(index: u32, gateway: IpAddr) -> (RouteNetlinkMessage, u16) {
    let mut message = RouteMessage::default();
    message.header.address_family = family(gateway);
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Boot;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    message.attributes = vec![
        RouteAttribute::Gateway(gateway.into()),
        RouteAttribute::Oif(index),
    ];
    (
        RouteNetlinkMessage::NewRoute(message),
        NLM_F_CREATE | NLM_F_REPLACE,
    )
}

/// Splits the first message off; None at the end, or where the length makes no sense.
pub(crate) fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let message = bytes.get(..length).filter(|message| message.len() >= 16)?;
    let next = length.next_multiple_of(NLMSG_ALIGNTO).min(bytes.len());
    Some((message, &bytes[next..]))
}

fn read_link(message: &LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        is_up: message.header.flags.contains(LinkFlags::Up),
        mtu: 0,
        alias: None,
        master: None,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::IfAlias(alias) => link.alias = Some(alias.clone()),
            LinkAttribute::Controller(master) => link.master = Some(*master),
            _ => {}
        }
    }
    link
}

fn read_route(message: &RouteMessage) -> Option<Route> {
    let prefix = message.header.destination_prefix_length;
    let any: IpAddr = match message.header.address_family {
        AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
        AddressFamily::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    let mut route = Route {
        destination: Subnet::new(any, prefix),
        device: None,
        metric: 0,
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => {
                route.destination = Subnet::new(*address, prefix);
            }
            RouteAttribute::Destination(RouteAddress::Inet6(address)) => {
                route.destination = Subnet::new(*address, prefix);
            }
            RouteAttribute::Oif(device) => route.device = Some(*device),
            RouteAttribute::Priority(metric) => route.metric = *metric,
            _ => {}
        }
    }
    Some(route)
}

fn read_address(message: &AddressMessage) -> Option<Address> {
    message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(address) => Some(Address {
            subnet: Subnet::new(*address, message.header.prefix_len),
            device: message.header.index,
        }),
        _ => None,
    })
}

fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}
