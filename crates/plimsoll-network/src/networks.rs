//! Networks in the database and on the host.

use plimsoll_store::Store;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use rustix::fs::{FlockOperation, flock};
use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt;

use crate::netlink::{Link, Netlink};
use crate::subnet::{self, Subnet};
use crate::{Endpoint, Network, NetworkError, firewall, foreign, hardware_address, nft, resolver};

/// Docker's name for it.
const DEFAULT: &str = "bridge";
/// Ethernet's, for a host without a default route.
const DEFAULT_MTU: u32 = 1500;
/// One for the whole host, whatever the store: see [`HostLock`].
const HOST_LOCK: &str = "/run/plimsoll-network.lock";
const IP_FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// The networks of one store.
#[derive(Clone)]
pub struct Networks {
    store: Store,
}

impl Networks {
    /// The networks of `store`. Touches nothing yet.
    pub fn new(store: &Store) -> Self {
        Self { store: store.clone() }
    }

    /// Returns the default bridge, made on first use and again after a reboot.
    ///
    /// That is: a subnet free of the host's routes, addresses and name servers; the device with its address; forwarding; the
    /// nft table; and accept rules where a foreign firewall drops what is forwarded. When it stands already this costs
    /// three questions to the kernel and no process.
    pub fn default_bridge(&self) -> Result<Network, NetworkError> {
        let mut netlink = open_netlink()?;
        if let Some(network) = self.standing(&mut netlink)? {
            return Ok(network);
        }
        let _lock = HostLock::take()?;
        match self.standing(&mut netlink)? {
            Some(network) => Ok(network),
            None => self.raise(&mut netlink),
        }
    }

    /// Takes a free address for `container`, or finds the one it has; kept until [`Networks::release`].
    pub fn allocate(&self, network: &Network, container: &str) -> Result<Endpoint, NetworkError> {
        let address = self
            .store
            .db()
            .write(|transaction| take_address(transaction, network, container))?;
        Ok(Endpoint {
            network: network.clone(),
            address,
            mac: hardware_address(address)
                .map(|byte| format!("{byte:02x}"))
                .join(":"),
            host_interface: host_interface(&network.bridge, address),
        })
    }

    /// Gives back every address of `container`; fine when it has none.
    pub fn release(&self, container: &str) -> Result<(), NetworkError> {
        self.store.db().write(|transaction| {
            transaction.execute("DELETE FROM address WHERE container = ?1", [container])?;
            Ok(())
        })
    }

    /// Takes everything this store has on the host away: devices, table, rules in foreign firewalls, and the rows.
    ///
    /// Containers that still run lose their network. Goes on after a failure, and returns the first one.
    pub fn destroy(&self) -> Result<(), NetworkError> {
        let _lock = HostLock::take()?;
        let mut netlink = open_netlink()?;
        let networks = self.store.db().read(all_networks)?;
        let table = firewall::table(self.store.instance());
        let mut results = Vec::new();
        for network in &networks {
            results.push(remove_bridge(&mut netlink, &network.bridge));
            results.push(without_nft(foreign::close(&network.bridge, &table)));
        }
        results.push(firewall::remove(self.store.instance()));
        results.push(self.store.db().write(|transaction| {
            transaction.execute("DELETE FROM address", [])?;
            transaction.execute("DELETE FROM network", [])?;
            Ok(())
        }));
        results.into_iter().collect()
    }

    /// The default bridge, if it is whole. Its alias is written last, so an interrupted attempt does not count.
    fn standing(&self, netlink: &mut Netlink) -> Result<Option<Network>, NetworkError> {
        let Some(network) = self
            .store
            .db()
            .read(|connection| find_network(connection, DEFAULT))?
        else {
            return Ok(None);
        };
        let link = netlink
            .link(&network.bridge)
            .map_err(|source| NetworkError::read("devices", source))?;
        let is_whole = |link: Link| link.is_up && link.alias.as_deref() == Some(&alias(&network));
        let stands = link.is_some_and(is_whole) && firewall::stands(self.store.instance());
        Ok(stands.then_some(network))
    }

    /// Makes what is missing of the default bridge. Runs under the host lock.
    fn raise(&self, netlink: &mut Netlink) -> Result<Network, NetworkError> {
        nft::check()?;
        let bridge = format!("pl{:08x}0", self.store.instance());
        let link = netlink
            .link(&bridge)
            .map_err(|source| NetworkError::read("devices", source))?;
        let taken = taken(netlink, link.as_ref().map(|link| link.index))?;
        let mtu = match &link {
            Some(link) => link.mtu,
            None => default_mtu(netlink).map_err(|source| NetworkError::read("routes", source))?,
        };
        let network = self
            .store
            .db()
            .write(|transaction| settle(transaction, &bridge, &taken, mtu))?;
        let result = self.build(netlink, link.as_ref(), &network);
        if result.is_err() && link.is_none() {
            // Half a bridge would only hide why there is none.
            let _ = remove_bridge(netlink, &bridge);
        }
        result.map(|()| network)
    }

    fn build(
        &self,
        netlink: &mut Netlink,
        link: Option<&Link>,
        network: &Network,
    ) -> Result<(), NetworkError> {
        let failed = |source| NetworkError::make_bridge(&network.bridge, source);
        let index = match link {
            Some(link) => link.index,
            None => add_bridge(netlink, network).map_err(failed)?,
        };
        netlink
            .add_address(index, network.gateway, network.subnet())
            .map_err(failed)?;
        netlink.set_up(index).map_err(failed)?;
        enable_forwarding()?;
        let instance = self.store.instance();
        firewall::install(instance, &self.store.db().read(all_networks)?)?;
        foreign::open(&network.bridge, &firewall::table(instance))?;
        netlink.set_alias(index, &alias(network)).map_err(failed)
    }
}

/// What a finished bridge has as its alias: which network it is, and how many foreign chains it was let through.
fn alias(network: &Network) -> String {
    let id = &network.id[..network.id.len().min(12)];
    format!("plimsoll {} {id} past {}", network.subnet(), foreign::count())
}

fn open_netlink() -> Result<Netlink, NetworkError> {
    Netlink::open().map_err(|source| NetworkError::read("devices", source))
}

/// What a new subnet must keep away from, but for the addresses and routes of the device `own`.
fn taken(netlink: &mut Netlink, own: Option<u32>) -> Result<Vec<Subnet>, NetworkError> {
    // A route for half of everything is a VPN's default route; keeping away from it would leave nothing.
    const SHORTEST: u8 = 8;
    let routes = netlink
        .routes()
        .map_err(|source| NetworkError::read("routes", source))?;
    let addresses = netlink
        .addresses()
        .map_err(|source| NetworkError::read("addresses", source))?;
    let routes = routes
        .into_iter()
        .filter(|route| route.device.is_none() || route.device != own);
    let addresses = addresses
        .into_iter()
        .filter(|address| Some(address.device) != own);
    let servers = resolver::servers()
        .into_iter()
        .map(|server| Subnet::new(server, 32));
    let subnets = routes
        .map(|route| route.destination)
        .filter(|subnet| subnet.prefix() >= SHORTEST);
    Ok(subnets
        .chain(addresses.map(|address| address.subnet))
        .chain(servers)
        .collect())
}

/// The MTU of the device the host's default route leaves by: larger packets from containers would not get through.
fn default_mtu(netlink: &mut Netlink) -> io::Result<u32> {
    let routes = netlink.routes()?;
    let default = routes
        .iter()
        .filter(|route| route.destination.prefix() == 0)
        .min_by_key(|route| route.metric);
    let Some(device) = default.and_then(|route| route.device) else {
        return Ok(DEFAULT_MTU);
    };
    let links = netlink.links()?;
    Ok(links
        .iter()
        .find(|link| link.index == device)
        .map_or(DEFAULT_MTU, |link| link.mtu))
}

/// The row of the default bridge: the one there, or a new one when there is none or the host now uses its subnet otherwise.
fn settle(
    transaction: &Transaction<'_>,
    bridge: &str,
    taken: &[Subnet],
    mtu: u32,
) -> Result<Network, NetworkError> {
    if let Some(mut network) = find_network(transaction, DEFAULT)? {
        if !taken.iter().any(|subnet| subnet.overlaps(network.subnet())) {
            network.mtu = mtu;
            let detail = serde_json::json!({ "mtu": mtu }).to_string();
            transaction.execute(
                "UPDATE network SET detail = ?2 WHERE id = ?1",
                params![network.id, detail],
            )?;
            return Ok(network);
        }
        transaction.execute("DELETE FROM network WHERE id = ?1", [&network.id])?;
    }
    let subnet = subnet::choose(taken).ok_or(NetworkError::NoFreeSubnet)?;
    transaction.execute(
        "INSERT INTO network (id, name, driver, bridge, subnet, gateway, created, detail)
         VALUES (lower(hex(randomblob(32))), ?1, 'bridge', ?2, ?3, ?4, ?5, ?6)",
        params![
            DEFAULT,
            bridge,
            subnet.to_string(),
            subnet.gateway().to_string(),
            plimsoll_store::now(),
            serde_json::json!({ "mtu": mtu }).to_string(),
        ],
    )?;
    Ok(find_network(transaction, DEFAULT)?.expect("inserted above"))
}

const COLUMNS: &str = "SELECT id, name, bridge, subnet, gateway, json_extract(detail, '$.mtu') FROM network";

fn find_network(connection: &Connection, name: &str) -> Result<Option<Network>, NetworkError> {
    let mut statement =
        connection.prepare_cached(&format!("{COLUMNS} WHERE name = ?1 AND driver = 'bridge'"))?;
    Ok(statement.query_row([name], read_network).optional()?)
}

fn all_networks(connection: &Connection) -> Result<Vec<Network>, NetworkError> {
    let mut statement =
        connection.prepare(&format!("{COLUMNS} WHERE driver = 'bridge' ORDER BY created, id"))?;
    let networks = statement.query_map([], read_network)?.collect::<Result<_, _>>()?;
    Ok(networks)
}

fn read_network(row: &rusqlite::Row<'_>) -> rusqlite::Result<Network> {
    let subnet: String = row.get(3)?;
    let (base, prefix) = subnet.split_once('/').unwrap_or((&subnet, ""));
    Ok(Network {
        id: row.get(0)?,
        name: row.get(1)?,
        bridge: row.get(2)?,
        subnet: parsed(3, base)?,
        prefix: parsed(3, prefix)?,
        gateway: parsed(4, &row.get::<_, String>(4)?)?,
        mtu: row.get::<_, Option<u32>>(5)?.unwrap_or(DEFAULT_MTU),
    })
}

fn parsed<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    column: usize,
    text: &str,
) -> rusqlite::Result<T> {
    let text_type = rusqlite::types::Type::Text;
    text.parse()
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, text_type, Box::new(error)))
}

/// The lowest free address: MAC addresses follow from it, so reuse spoils no neighbour cache.
fn take_address(
    transaction: &Transaction<'_>,
    network: &Network,
    container: &str,
) -> Result<Ipv4Addr, NetworkError> {
    let mut statement =
        transaction.prepare_cached("SELECT address, container FROM address WHERE network = ?1")?;
    let rows = statement.query_map([&network.id], |row| {
        Ok((
            parsed::<Ipv4Addr>(0, &row.get::<_, String>(0)?)?,
            row.get::<_, String>(1)?,
        ))
    })?;
    let mut used = HashSet::new();
    for row in rows {
        let (address, owner) = row?;
        if owner == container {
            return Ok(address);
        }
        used.insert(address);
    }
    let free = network
        .subnet()
        .addresses()
        .find(|address| *address != network.gateway && !used.contains(address));
    let address = free.ok_or_else(|| NetworkError::NoFreeAddress {
        network: network.name.clone(),
        subnet: network.subnet().to_string(),
    })?;
    transaction.execute(
        "INSERT INTO address (network, address, container) VALUES (?1, ?2, ?3)",
        params![network.id, address.to_string(), container],
    )?;
    Ok(address)
}

fn add_bridge(netlink: &mut Netlink, network: &Network) -> io::Result<u32> {
    netlink.add_bridge(&network.bridge, hardware_address(network.gateway))?;
    let link = netlink.link(&network.bridge)?.ok_or(io::ErrorKind::NotFound)?;
    netlink.set_mtu(link.index, network.mtu)?;
    Ok(link.index)
}

/// Removes a bridge and the host ends of what hangs on it; fine when it is gone.
fn remove_bridge(netlink: &mut Netlink, bridge: &str) -> Result<(), NetworkError> {
    let mut remove = || {
        let Some(link) = netlink.link(bridge)? else {
            return Ok(());
        };
        for port in netlink
            .links()?
            .iter()
            .filter(|port| port.master == Some(link.index))
        {
            netlink.remove_link(port.index)?;
        }
        netlink.remove_link(link.index)
    };
    remove().map_err(|source| NetworkError::RemoveBridge {
        bridge: bridge.to_owned(),
        source,
    })
}

/// A host without `nft` has no rules to take away.
fn without_nft(result: Result<(), NetworkError>) -> Result<(), NetworkError> {
    match result {
        Err(NetworkError::NoNft) => Ok(()),
        result => result,
    }
}

fn enable_forwarding() -> Result<(), NetworkError> {
    let failed = |source| NetworkError::Forwarding {
        path: IP_FORWARD.into(),
        source,
    };
    if fs::read_to_string(IP_FORWARD).map_err(failed)?.trim() == "1" {
        return Ok(());
    }
    fs::write(IP_FORWARD, "1").map_err(failed)
}

/// `plv` and 12 hexadecimal digits that follow from bridge and address: as long as a name may be, the same at every start, and
/// different for every container of the host (FNV-1a).
fn host_interface(bridge: &str, address: Ipv4Addr) -> String {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = bridge
        .bytes()
        .chain(address.octets())
        .fold(0xcbf2_9ce4_8422_2325, step);
    format!("plv{:012x}", hash >> 16)
}

/// Held while a subnet is chosen and until its bridge is there for others to see.
///
/// It lies outside every store: two stores on one host must not choose the same subnet.
struct HostLock {
    _file: File,
}

impl HostLock {
    fn take() -> Result<Self, NetworkError> {
        let take = || {
            let file = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .mode(0o600)
                .open(HOST_LOCK)?;
            flock(&file, FlockOperation::LockExclusive)?;
            Ok(file)
        };
        let file = take().map_err(|source| NetworkError::Lock {
            path: HOST_LOCK.into(),
            source,
        })?;
        Ok(Self { _file: file })
    }
}
