//! The places containers have on networks.

use rusqlite::{OptionalExtension as _, Row, Transaction, params};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::leaks::port_prefix;
use crate::names::Member;
use crate::networks::default_routes;
use crate::rows::{self, NetworkInfo, from_json, parsed};
use crate::subnet::Subnet;
use crate::{
    DEFAULT_NETWORK, Endpoint, Network, NetworkError, Networks, Pool, hardware_address, main_address,
};

/// Option of a place: what its device is called in the container, instead of `eth0`.
pub const INTERFACE_NAME: &str = "com.docker.network.endpoint.ifname";
/// Option of a place: settings of its device, as `net.ipv4.conf.IFNAME.log_martians=1`, with commas between them.
const SYSCTLS: &str = "com.docker.network.endpoint.sysctls";
/// What stands for the name of the device in them.
const IFNAME: &str = "IFNAME";
/// The kernel's limit for names of devices.
const LONGEST_NAME: usize = 15;

/// What a container wants of its place on a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AttachOptions {
    /// More names; several containers may share one.
    pub aliases: Vec<String>,
    /// Its IPv4 address.
    pub address: Option<Ipv4Addr>,
    /// Its IPv6 address.
    pub address6: Option<Ipv6Addr>,
    /// More addresses, which only its own link knows.
    pub link_local: Vec<IpAddr>,
    /// Its hardware address.
    pub mac: Option<String>,
    /// The place with the highest one leads to everywhere else.
    pub gateway_priority: i32,
    /// What the container calls itself, which is one of its names.
    pub hostname: String,
    /// Options for the driver: [`INTERFACE_NAME`] and that of sysctls have effect, others are kept for `inspect`.
    pub driver_options: BTreeMap<String, String>,
}

/// A place that a container has or will have when it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Id of the network.
    pub network: String,
    /// Its name.
    pub name: String,
    /// What was asked for.
    pub options: AttachOptions,
}

impl Networks {
    /// Gives `container` a place on a network, for its next start. `called` is the container's name, for errors.
    pub fn attach(
        &self,
        container: &str,
        called: &str,
        info: &NetworkInfo,
        options: &AttachOptions,
    ) -> Result<(), NetworkError> {
        check_options(info, options)?;
        self.store.db().write(|transaction| {
            let id: String =
                transaction.query_row("SELECT lower(hex(randomblob(32)))", [], |row| row.get(0))?;
            let detail = serde_json::to_string(options).expect("maps have text for keys");
            let added = transaction.execute(
                "INSERT INTO endpoint (network, container, id, detail, created) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (network, container) DO NOTHING",
                params![info.id, container, id, detail, plimsoll_store::now()],
            )?;
            match added {
                0 => Err(NetworkError::AlreadyConnected {
                    container: called.to_owned(),
                    network: info.name.clone(),
                }),
                _ => Ok(()),
            }
        })
    }

    /// Takes a container's place away.
    pub fn detach(&self, container: &str, called: &str, info: &NetworkInfo) -> Result<(), NetworkError> {
        let removed = self
            .store
            .db()
            .write(|transaction| -> Result<usize, NetworkError> {
                Ok(transaction.execute(
                    "DELETE FROM endpoint WHERE network = ?1 AND container = ?2",
                    [&info.id, container],
                )?)
            })?;
        if removed == 0 {
            return Err(NetworkError::NotConnected {
                container: called.to_owned(),
                network: info.name.clone(),
            });
        }
        self.write_names(&[info.id.as_str()])
    }

    /// Returns the places that a container has or will have when it runs, by name of the network.
    pub fn attachments(&self, container: &str) -> Result<Vec<Attachment>, NetworkError> {
        self.store.db().read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT network.id, network.name, endpoint.detail FROM endpoint JOIN network ON network.id = network
                 WHERE container = ?1 ORDER BY network.name",
            )?;
            let rows = statement.query_map([container], |row| {
                Ok(Attachment {
                    network: row.get(0)?,
                    name: row.get(1)?,
                    options: from_json(2, &row.get::<_, String>(2)?)?,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Makes a container's places real: bridges that stand, and addresses, which are the last ones if nobody took them.
    ///
    /// A container that has no place gets one on the network `primary`. That one comes first and is `eth0`.
    pub fn join(&self, container: &str, primary: &str) -> Result<Vec<Endpoint>, NetworkError> {
        let mut places = self.attachments(container)?;
        if places.is_empty() {
            places.push(self.place_on(primary)?);
        }
        // A name goes before the beginning of an id: `b` is both.
        let by_name = places.iter().position(|place| place.name == primary);
        let first = by_name.or_else(|| places.iter().position(|place| place.network.starts_with(primary)));
        if let Some(first) = first {
            places[..=first].rotate_right(1);
        }
        let mut endpoints = Vec::new();
        let asked: Vec<&str> = places
            .iter()
            .filter_map(|place| place.options.interface())
            .collect();
        let mut numbers = (0..).filter(|number| !asked.contains(&interface(*number).as_str()));
        for place in &places {
            let number = match place.options.interface() {
                Some(_) => 0,
                None => numbers.next().expect("numbers do not end"),
            };
            endpoints.push(self.activate(container, &place.network, &place.options, number)?);
        }
        default_routes(&mut endpoints);
        self.write_names(&named(&endpoints))?;
        Ok(endpoints)
    }

    /// As [`Networks::join`], of one more place for a container that runs and has `present` already.
    pub fn join_one(
        &self,
        container: &str,
        info: &NetworkInfo,
        present: &[Endpoint],
    ) -> Result<Endpoint, NetworkError> {
        let taken = |name: &str| present.iter().any(|endpoint| endpoint.interface == name);
        let number = (0..).find(|number| !taken(&interface(*number)));
        let place = self
            .attachments(container)?
            .into_iter()
            .find(|place| place.network == info.id);
        let options = place.map(|place| place.options).unwrap_or_default();
        let endpoint = self.activate(container, &info.id, &options, number.expect("numbers do not end"))?;
        self.write_names(&named(std::slice::from_ref(&endpoint)))?;
        Ok(endpoint)
    }

    /// Takes a free address for `container` on a network that stands, or finds the one it has; kept until
    /// [`Networks::release`]. For what is no container: a build's steps.
    pub fn allocate(&self, network: &Network, container: &str) -> Result<Endpoint, NetworkError> {
        let options = AttachOptions::default();
        let taken = self
            .store
            .db()
            .write(|transaction| take_place(transaction, network, container, &options))?;
        let mut endpoint = taken.endpoint(network, &options, 0);
        default_routes(std::slice::from_mut(&mut endpoint));
        Ok(endpoint)
    }

    /// A container has stopped: its places are remembered, but its addresses go to whoever finds no other.
    pub fn park(&self, container: &str) -> Result<(), NetworkError> {
        self.leave(container, "UPDATE endpoint SET active = 0 WHERE container = ?1")
    }

    /// Gives back every place of `container`; fine when it has none.
    pub fn release(&self, container: &str) -> Result<(), NetworkError> {
        self.leave(container, "DELETE FROM endpoint WHERE container = ?1")
    }

    fn leave(&self, container: &str, statement: &str) -> Result<(), NetworkError> {
        let places = self.attachments(container)?;
        if places.is_empty() {
            return Ok(());
        }
        self.store.db().write(|transaction| -> Result<(), NetworkError> {
            transaction.execute(statement, [container])?;
            Ok(())
        })?;
        let named: Vec<&str> = places
            .iter()
            .filter(|place| place.name != DEFAULT_NETWORK)
            .map(|place| place.network.as_str())
            .collect();
        self.write_names(&named)
    }

    /// Whether a container, running or not, has a place on a network.
    pub fn is_used(&self, info: &NetworkInfo) -> Result<bool, NetworkError> {
        self.store.db().read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM endpoint WHERE network = ?1)")?;
            Ok(statement.query_row([&info.id], |row| row.get(0))?)
        })
    }

    /// Returns who is on a network at the moment, by id of the container.
    pub fn members(&self, network: &str) -> Result<Vec<Member>, NetworkError> {
        self.store.db().read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT endpoint.container, coalesce(container.name, endpoint.container), endpoint.id, address, address6,
                   endpoint.detail
                 FROM endpoint LEFT JOIN container ON container.id = endpoint.container
                 WHERE network = ?1 AND active ORDER BY endpoint.container",
            )?;
            let rows = statement.query_map([network], read_member)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    fn place_on(&self, network: &str) -> Result<Attachment, NetworkError> {
        // The way of nearly every container: no need to look.
        if network == DEFAULT_NETWORK {
            return Ok(Attachment {
                network: String::new(),
                name: DEFAULT_NETWORK.to_owned(),
                options: AttachOptions::default(),
            });
        }
        let info = self.get(network)?;
        Ok(Attachment {
            network: info.id,
            name: info.name,
            options: AttachOptions::default(),
        })
    }

    /// An empty id is the default bridge's.
    fn activate(
        &self,
        container: &str,
        id: &str,
        options: &AttachOptions,
        number: usize,
    ) -> Result<Endpoint, NetworkError> {
        let row = match id {
            "" => None,
            id => self.store.db().read(|connection| rows::by_id(connection, id))?,
        };
        let network = match row {
            Some(NetworkInfo {
                network: Some(network),
                ..
            }) if !network.is_default() => {
                self.ensure(&network)?;
                network
            }
            _ => self.default_bridge()?,
        };
        let place = self
            .store
            .db()
            .write(|transaction| take_place(transaction, &network, container, options))?;
        Ok(place.endpoint(&network, options, number))
    }
}

/// An endpoint's row, with its addresses.
struct Place {
    id: String,
    address: Option<Ipv4Addr>,
    address6: Option<Ipv6Addr>,
}

impl Place {
    fn endpoint(self, network: &Network, options: &AttachOptions, number: usize) -> Endpoint {
        let main = main_address(self.address, self.address6);
        let derived = || hardware_address(main).map(|byte| format!("{byte:02x}")).join(":");
        Endpoint {
            host_interface: host_interface(&self.id, main),
            interface: options
                .interface()
                .map_or_else(|| interface(number), str::to_owned),
            mac: options.mac.clone().unwrap_or_else(derived),
            id: self.id,
            network: network.clone(),
            address: self.address,
            address6: self.address6,
            default_route: false,
            default_route6: false,
            options: options.clone(),
        }
    }
}

fn interface(number: usize) -> String {
    format!("eth{number}")
}

impl AttachOptions {
    /// What the device is to be called in the container.
    fn interface(&self) -> Option<&str> {
        let name = self.driver_options.get(INTERFACE_NAME);
        name.map(String::as_str).filter(|name| !name.is_empty())
    }

    /// Settings of the device of this name: path and value.
    pub(crate) fn settings(&self, device: &str) -> Result<Vec<(String, String)>, String> {
        let text = self.driver_options.get(SYSCTLS).map_or("", String::as_str);
        let entries = text.split(',').filter(|entry| !entry.is_empty());
        let setting = |entry: &str| {
            let (key, value) = entry.split_once('=')?;
            let parts: Vec<&str> = key.split('.').collect();
            let is_plain = |part: &&str| !part.is_empty() && !part.contains('/');
            let [
                "net",
                "ipv4" | "ipv6" | "mpls",
                "conf" | "neigh" | "input",
                IFNAME,
                last,
            ] = parts[..]
            else {
                return None;
            };
            let path = format!("/proc/sys/net/{}/{}/{device}/{last}", parts[1], parts[2]);
            is_plain(&last).then(|| (path, value.to_owned()))
        };
        entries
            .map(|entry| setting(entry).ok_or_else(|| format!("invalid sysctl of an endpoint: {entry}")))
            .collect()
    }

    fn check(&self) -> Result<(), String> {
        let is_name = |name: &str| {
            name.len() <= LONGEST_NAME
                && !matches!(name, "." | ".." | "lo" | "all" | "default")
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_graphic() && !b"/:%".contains(&byte))
        };
        if let Some(name) = self.interface().filter(|name| !is_name(name)) {
            return Err(format!(
                "invalid interface name {name}: at most {LONGEST_NAME} letters"
            ));
        }
        let stray = |address: &&IpAddr| !Subnet::link_local(**address).contains(**address);
        if let Some(address) = self.link_local.iter().find(stray) {
            return Err(format!("invalid link local IP address: {address}"));
        }
        self.settings("eth0").map(|_| ())
    }
}

/// Networks with names among those of the endpoints.
fn named(endpoints: &[Endpoint]) -> Vec<&str> {
    let networks = endpoints.iter().map(|endpoint| &endpoint.network);
    networks
        .filter(|network| !network.is_default())
        .map(|network| network.id.as_str())
        .collect()
}

fn check_options(info: &NetworkInfo, options: &AttachOptions) -> Result<(), NetworkError> {
    let invalid = |text: String| {
        Err(NetworkError::Invalid(format!(
            "invalid endpoint settings:\n{text}"
        )))
    };
    options.check().or_else(invalid)?;
    let asked: Vec<IpAddr> = [
        options.address.map(IpAddr::from),
        options.address6.map(IpAddr::from),
    ]
    .into_iter()
    .flatten()
    .collect();
    if info.name == DEFAULT_NETWORK && !asked.is_empty() {
        return invalid("user specified IP address is supported on user defined networks only".to_owned());
    }
    if info.is_predefined() && !options.aliases.is_empty() {
        return invalid(
            "network-scoped alias is supported only for containers in user defined networks".to_owned(),
        );
    }
    let Some(network) = &info.network else {
        return Ok(());
    };
    match asked
        .iter()
        .find(|address| !network.pools().any(|pool| pool.subnet.is_assignable(**address)))
    {
        Some(address) => invalid(format!(
            "no configured subnet or ip-range contain the IP address {address}"
        )),
        None => Ok(()),
    }
}

/// Takes the addresses of a container's place, whose row is made when it is missing.
fn take_place(
    transaction: &Transaction<'_>,
    network: &Network,
    container: &str,
    options: &AttachOptions,
) -> Result<Place, NetworkError> {
    let held = transaction
        .prepare_cached("SELECT id, address, address6 FROM endpoint WHERE network = ?1 AND container = ?2")?
        .query_row([&network.id, container], |row| {
            let (id, four, six): (String, _, _) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok((id, parsed::<Ipv4Addr>(1, four)?, parsed::<Ipv6Addr>(2, six)?))
        })
        .optional()?;
    let id = match &held {
        Some((id, ..)) => id.clone(),
        None => {
            let id: String =
                transaction.query_row("SELECT lower(hex(randomblob(32)))", [], |row| row.get(0))?;
            transaction.execute(
                "INSERT INTO endpoint (network, container, id, created) VALUES (?1, ?2, ?3, ?4)",
                params![network.id, container, id, plimsoll_store::now()],
            )?;
            id
        }
    };
    let (last, last6) = held.map_or((None, None), |(_, four, six)| {
        (four.map(IpAddr::V4), six.map(IpAddr::V6))
    });
    let free = Addresses {
        transaction,
        network,
        container,
    };
    let four = network
        .ipv4
        .as_ref()
        .map(|pool| free.take(pool, "address", options.address.map(IpAddr::V4), last));
    let six = network
        .ipv6
        .as_ref()
        .map(|pool| free.take(pool, "address6", options.address6.map(IpAddr::V6), last6));
    let (four, six) = (four.transpose()?, six.transpose()?);
    transaction
        .prepare_cached("UPDATE endpoint SET active = 1, address = ?3, address6 = ?4 WHERE network = ?1 AND container = ?2")?
        .execute(params![network.id, container, four.map(|four| four.to_string()), six.map(|six| six.to_string())])?;
    let address = four.and_then(|address| match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    });
    let address6 = six.and_then(|address| match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => Some(address),
    });
    Ok(Place {
        id,
        address,
        address6,
    })
}

/// The addresses of one network, from the point of view of one container.
struct Addresses<'a> {
    transaction: &'a Transaction<'a>,
    network: &'a Network,
    container: &'a str,
}

impl Addresses<'_> {
    /// What was asked for, else what it had last, else the lowest that nobody has or remembers, else the lowest that nobody has.
    ///
    /// The lowest: hardware addresses follow from it, so reuse spoils no neighbour cache.
    fn take(
        &self,
        pool: &Pool,
        column: &str,
        asked: Option<IpAddr>,
        last: Option<IpAddr>,
    ) -> Result<IpAddr, NetworkError> {
        let others = self.others(column)?;
        let is_active = |address: &IpAddr| others.get(address).is_some_and(|(_, active)| *active);
        let is_open = |address: &IpAddr| {
            pool.subnet.is_assignable(*address)
                && *address != pool.gateway
                && !pool.reserved.values().any(|reserved| reserved == address)
        };
        let address = match asked {
            Some(address) if is_active(&address) || address == pool.gateway => {
                let owner = others.get(&address).map_or("the bridge", |(owner, _)| owner);
                return Err(NetworkError::AddressInUse {
                    address,
                    network: self.network.name.clone(),
                    owner: owner.chars().take(12).collect(),
                });
            }
            Some(address) => Some(address),
            None => last.filter(|last| is_open(last) && !is_active(last)),
        };
        let range = pool.range.unwrap_or(pool.subnet);
        let lowest = |skip: &dyn Fn(&IpAddr) -> bool| {
            range
                .addresses()
                .find(|address| is_open(address) && !skip(address))
        };
        let address = address
            .or_else(|| lowest(&|address| others.contains_key(address)))
            .or_else(|| lowest(&is_active));
        let address = address.ok_or_else(|| NetworkError::NoFreeAddress {
            network: self.network.name.clone(),
            subnet: pool.subnet.to_string(),
        })?;
        if others.contains_key(&address) {
            let forget = format!("UPDATE endpoint SET {column} = NULL WHERE network = ?1 AND {column} = ?2");
            self.transaction
                .execute(&forget, [&self.network.id, &address.to_string()])?;
        }
        Ok(address)
    }

    /// Addresses of other containers: whose they are, and whether those run. One that was asked for is nobody else's either way.
    fn others(&self, column: &str) -> Result<HashMap<IpAddr, (String, bool)>, NetworkError> {
        let mut statement = self.transaction.prepare_cached(&format!(
            "SELECT {column}, container, active OR json_extract(detail, '$.{column}') IS NOT NULL FROM endpoint
             WHERE network = ?1 AND container != ?2 AND {column} IS NOT NULL"
        ))?;
        let rows = statement.query_map([&self.network.id, self.container], |row| {
            let address = parsed::<IpAddr>(0, row.get(0)?)?.expect("not null, says the query");
            Ok((address, (row.get(1)?, row.get(2)?)))
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

fn read_member(row: &Row<'_>) -> rusqlite::Result<Member> {
    let (container, name): (String, String) = (row.get(0)?, row.get(1)?);
    let options: AttachOptions = from_json(5, &row.get::<_, String>(5)?)?;
    Ok(Member {
        names: names(&name, &container, &options),
        mac: options.mac,
        container,
        name,
        endpoint: row.get(2)?,
        address: parsed(3, row.get(3)?)?,
        address6: parsed(4, row.get(4)?)?,
    })
}

/// What a container is called on a network, in Docker's order.
pub(crate) fn names(name: &str, container: &str, options: &AttachOptions) -> Vec<String> {
    let short = container.get(..12).unwrap_or(container);
    let mut names: Vec<String> = Vec::new();
    let all = std::iter::once(name)
        .chain(options.aliases.iter().map(String::as_str))
        .chain([short, options.hostname.as_str()]);
    for name in all.filter(|name| !name.is_empty()) {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

impl Endpoint {
    /// Returns the names it has on its network; none on the default one.
    pub fn names(&self, name: &str, container: &str) -> Vec<String> {
        match self.network.is_default() {
            true => Vec::new(),
            false => names(name, container, &self.options),
        }
    }

    pub(crate) fn subnet4(&self) -> Option<(Ipv4Addr, Subnet, IpAddr)> {
        let pool = self.network.ipv4.as_ref()?;
        Some((self.address?, pool.subnet, pool.gateway))
    }

    pub(crate) fn subnet6(&self) -> Option<(Ipv6Addr, Subnet, IpAddr)> {
        let pool = self.network.ipv6.as_ref()?;
        Some((self.address6?, pool.subnet, pool.gateway))
    }
}

/// `plv`, six digits that say whose it is, and six more: another name for every start of a container (FNV-1a).
///
/// The device of an earlier life may still be there for a while, and to remove it first would take longer than all the rest.
fn host_interface(place: &str, address: IpAddr) -> String {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let now = plimsoll_store::now().to_ne_bytes();
    let process = std::process::id().to_ne_bytes();
    let address = address.to_string();
    let bytes = place.bytes().chain(address.bytes()).chain(now).chain(process);
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325, step);
    format!("{}{:06x}", port_prefix(place), hash >> 40)
}
