//! Networks in the database and on the host.

use plimsoll_store::Store;
use rusqlite::Transaction;
use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use crate::host::{self, HostLock, enable_forwarding};
use crate::netlink::{Link, Netlink};
use crate::rows::{self, NetworkInfo};
use crate::subnet::{self, Subnet};
use crate::{DEFAULT_NETWORK, Endpoint, Network, NetworkError, NetworkRequest, Pool, Resolver, Room};
use crate::{firewall, foreign, hardware_address, namespace, nft, room};

/// The networks of one store.
#[derive(Clone)]
pub struct Networks {
    pub(crate) store: Store,
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
        self.leading_out(|| self.default_bridge_here())
    }

    fn default_bridge_here(&self) -> Result<Network, NetworkError> {
        let mut netlink = open_netlink()?;
        if let Some(network) = self.default_network()?
            && self.stands(&mut netlink, &network)?
        {
            return Ok(network);
        }
        let _lock = self.host_lock()?;
        match self.default_network()? {
            Some(network) if self.stands(&mut netlink, &network)? => Ok(network),
            _ => self.raise_default(&mut netlink),
        }
    }

    /// Returns every network, by name.
    pub fn list(&self) -> Result<Vec<NetworkInfo>, NetworkError> {
        self.store.db().read(rows::all)
    }

    /// Returns the network of this name, id or unambiguous beginning of an id.
    pub fn get(&self, name: &str) -> Result<NetworkInfo, NetworkError> {
        let mut networks = self.list()?;
        if let Some(at) = networks
            .iter()
            .position(|network| network.name == name || network.id == name)
        {
            return Ok(networks.swap_remove(at));
        }
        let mut begin = networks
            .iter()
            .filter(|network| !name.is_empty() && network.id.starts_with(name));
        match (begin.next(), begin.next()) {
            (Some(network), None) => Ok(network.clone()),
            (Some(_), Some(_)) => Err(NetworkError::Ambiguous(name.to_owned())),
            (None, _) => Err(NetworkError::NotFound {
                name: name.to_owned(),
                known: networks.iter().map(|network| network.name.clone()).collect(),
            }),
        }
    }

    /// Makes a bridge network.
    pub fn create(&self, request: &NetworkRequest) -> Result<Network, NetworkError> {
        request.check()?;
        self.leading_out(|| self.create_here(request))
    }

    fn create_here(&self, request: &NetworkRequest) -> Result<Network, NetworkError> {
        nft::check()?;
        let _lock = self.host_lock()?;
        let mut netlink = open_netlink()?;
        let taken = host::taken(&mut netlink, None)?;
        let present = host::addresses(&mut netlink, None)?;
        let mtu = match request.options.get("com.docker.network.driver.mtu") {
            Some(text) => text
                .parse()
                .map_err(|_| NetworkError::Invalid(format!("invalid MTU `{text}`")))?,
            None => host::default_mtu(&mut netlink)?,
        };
        let network = self
            .store
            .db()
            .write(|transaction| self.settle(transaction, request, &taken, &present, mtu))?;
        let exists = netlink
            .link(&network.bridge)
            .map_err(|source| NetworkError::read("devices", source))?;
        let is_ours = network
            .bridge
            .starts_with(&format!("pl{:08x}", self.store.instance()));
        let made = match exists {
            // Whoever removed its network was killed before it came to this.
            Some(_) if is_ours => remove_bridge(&mut netlink, &network.bridge)
                .and_then(|()| self.build(&mut netlink, None, &network)),
            Some(_) => Err(NetworkError::DeviceExists(network.bridge.clone())),
            None => self.build(&mut netlink, None, &network),
        };
        if let Err(error) = made {
            self.forget(&network.id)?;
            if !matches!(error, NetworkError::DeviceExists(_)) {
                let _ = remove_bridge(&mut netlink, &network.bridge);
            }
            return Err(error);
        }
        Ok(network)
    }

    /// Removes a network that no running container is on.
    pub fn remove(&self, info: &NetworkInfo) -> Result<(), NetworkError> {
        self.where_bridges_are(|| self.remove_here(info))
    }

    fn remove_here(&self, info: &NetworkInfo) -> Result<(), NetworkError> {
        if info.is_predefined() {
            return Err(NetworkError::CannotRemove(info.name.clone()));
        }
        let _lock = self.host_lock()?;
        let active = self.members(&info.id)?;
        if !active.is_empty() {
            let describe = |member: &crate::names::Member| {
                format!("name:{:?} id:{:?}", member.name, &member.endpoint[..12])
            };
            return Err(NetworkError::InUse {
                name: info.name.clone(),
                endpoints: active.iter().map(describe).collect::<Vec<_>>().join(", "),
            });
        }
        self.forget(&info.id)?;
        let Some(network) = &info.network else {
            return Ok(());
        };
        let instance = self.store.instance();
        let table = firewall::table(instance);
        let rest = self.store.db().read(rows::bridges)?;
        // Each waits some ten milliseconds for the kernel or a program, and none needs another.
        std::thread::scope(|scope| {
            let device = scope.spawn(|| remove_bridge(&mut open_netlink()?, &network.bridge));
            let others = scope.spawn(|| foreign::close(&network.bridge, &table));
            let own = nft::run(&firewall::installation(instance, &rest));
            let done = |thread: std::thread::ScopedJoinHandle<'_, _>| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            [done(device), done(others), own].into_iter().collect()
        })
    }

    /// Takes everything this store has on the host away: devices, table, rules in foreign firewalls, and the rows.
    ///
    /// Containers that still run lose their network. Goes on after a failure, and returns the first one.
    pub fn destroy(&self) -> Result<(), NetworkError> {
        self.where_bridges_are(|| self.destroy_here())
    }

    fn destroy_here(&self) -> Result<(), NetworkError> {
        let _lock = self.host_lock()?;
        let mut netlink = open_netlink()?;
        let networks = self.store.db().read(rows::bridges)?;
        let table = firewall::table(self.store.instance());
        let mut results = Vec::new();
        for network in &networks {
            results.push(remove_bridge(&mut netlink, &network.bridge));
            results.push(without_nft(foreign::close(&network.bridge, &table)));
        }
        results.push(firewall::remove(self.store.instance()));
        results.push(self.store.db().write(|transaction| {
            transaction.execute("DELETE FROM endpoint", [])?;
            transaction.execute(
                "DELETE FROM network WHERE name NOT IN ('bridge', 'host', 'none')",
                [],
            )?;
            transaction.execute(
                "UPDATE network SET detail = '{}', bridge = NULL, subnet = NULL, gateway = NULL",
                [],
            )?;
            Ok(())
        }));
        results.into_iter().collect()
    }

    /// Makes what is missing of a network's device and rules, after a reboot for example.
    pub(crate) fn ensure(&self, network: &Network) -> Result<(), NetworkError> {
        match network.internal {
            true => self.where_bridges_are(|| self.ensure_here(network)),
            false => self.leading_out(|| self.ensure_here(network)),
        }
    }

    /// As `connect`, from where the bridges are.
    pub fn connect(&self, ns: BorrowedFd<'_>, endpoint: &Endpoint) -> Result<(), NetworkError> {
        self.where_bridges_are(|| namespace::connect(ns, endpoint))
    }

    /// Takes an endpoint's devices away; fine when they are gone.
    pub fn disconnect(&self, endpoint: &Endpoint) -> Result<(), NetworkError> {
        self.where_bridges_are(|| namespace::disconnect(endpoint))
    }

    /// Returns the servers that questions of a container on user networks go on to.
    pub fn upstream(&self, resolver: &Resolver) -> Vec<IpAddr> {
        match Room::of(self.store.run()) {
            None => resolver.upstream(),
            Some(_) => resolver.upstream_of_room(room::NAME_SERVER),
        }
    }

    /// Runs `work` on the host, or on a thread in an ordinary user's room.
    pub(crate) fn where_bridges_are<T: Send>(
        &self,
        work: impl FnOnce() -> Result<T, NetworkError> + Send,
    ) -> Result<T, NetworkError> {
        match Room::of(self.store.run()) {
            None => work(),
            Some(room) => room.inside(work)?,
        }
    }

    /// The same for a network that leads somewhere: a room must do so first.
    fn leading_out<T: Send>(
        &self,
        work: impl FnOnce() -> Result<T, NetworkError> + Send,
    ) -> Result<T, NetworkError> {
        match Room::of(self.store.run()) {
            None => work(),
            Some(room) => {
                room.lead_outside();
                room.inside(work)?
            }
        }
    }

    /// Held while a subnet is chosen: of the whole host, or of a room, which is a host of its own.
    pub(crate) fn host_lock(&self) -> Result<HostLock, NetworkError> {
        match Room::of(self.store.run()) {
            None => HostLock::take(),
            Some(room) => HostLock::take_at(&room.lock_path()),
        }
    }

    fn ensure_here(&self, network: &Network) -> Result<(), NetworkError> {
        let mut netlink = open_netlink()?;
        if self.stands(&mut netlink, network)? {
            return Ok(());
        }
        let _lock = self.host_lock()?;
        if self.stands(&mut netlink, network)? {
            return Ok(());
        }
        nft::check()?;
        let link = device(&mut netlink, network)?;
        self.build(&mut netlink, link.as_ref(), network)
    }

    fn default_network(&self) -> Result<Option<Network>, NetworkError> {
        let row = self
            .store
            .db()
            .read(|connection| rows::by_name(connection, DEFAULT_NETWORK))?;
        Ok(row.and_then(|row| row.network))
    }

    /// Whether a bridge is whole. Its alias is written last, so an interrupted attempt does not count.
    fn stands(&self, netlink: &mut Netlink, network: &Network) -> Result<bool, NetworkError> {
        let is_whole = |link: Link| link.is_up && link.alias.as_deref() == Some(&alias(network));
        let has_ipv6 = network.ipv6.is_some();
        Ok(device(netlink, network)?.is_some_and(is_whole)
            && firewall::stands(self.store.instance(), has_ipv6))
    }

    /// Makes what is missing of the default bridge. Runs under the host lock.
    fn raise_default(&self, netlink: &mut Netlink) -> Result<Network, NetworkError> {
        nft::check()?;
        let bridge = format!("pl{:08x}0", self.store.instance());
        let link = netlink
            .link(&bridge)
            .map_err(|source| NetworkError::read("devices", source))?;
        let taken = host::taken(netlink, link.as_ref().map(|link| link.index))?;
        let mtu = match &link {
            Some(link) => link.mtu,
            None => host::default_mtu(netlink)?,
        };
        let network = self
            .store
            .db()
            .write(|transaction| settle_default(transaction, &bridge, &taken, mtu))?;
        let result = self.build(netlink, link.as_ref(), &network);
        if result.is_err() && link.is_none() {
            // Half a bridge would only hide why there is none.
            let _ = remove_bridge(netlink, &bridge);
        }
        result.map(|()| network)
    }

    /// The row of a new network. Another network's subnet is refused, and so is one that a device of the host is on.
    fn settle(
        &self,
        transaction: &Transaction<'_>,
        request: &NetworkRequest,
        taken: &[Subnet],
        present: &[Subnet],
        mtu: u32,
    ) -> Result<Network, NetworkError> {
        let networks = rows::bridges(transaction)?;
        let others = networks.iter().flat_map(Network::pools).map(|pool| pool.subnet);
        let all: Vec<Subnet> = taken.iter().copied().chain(others).collect();
        let id: String = transaction.query_row("SELECT lower(hex(randomblob(32)))", [], |row| row.get(0))?;
        let (ipv4, ipv6) = (request.ipv4(&all)?, request.ipv6(&id)?);
        for subnet in ipv4.iter().chain(&ipv6).map(|pool| pool.subnet) {
            let network = networks
                .iter()
                .find(|network| network.pools().any(|pool| pool.subnet.overlaps(subnet)));
            let device = present.iter().find(|device| device.overlaps(subnet));
            let other = network
                .map(|network| format!("network {}", network.name))
                .or_else(|| device.map(|device| format!("{device}, a subnet of this host")));
            if let Some(other) = other {
                let subnet = subnet.to_string();
                return Err(NetworkError::Overlap { subnet, other });
            }
        }
        let network = Network {
            id,
            name: request.name.clone(),
            bridge: self.bridge_name(request, &networks)?,
            ipv4,
            ipv6,
            mtu,
            internal: request.internal,
            attachable: request.attachable,
            labels: request.labels.clone(),
            options: request.options.clone(),
        };
        rows::insert(transaction, &network)?;
        Ok(network)
    }

    /// The asked one, or the lowest number that no other network has; 0 is the default bridge's.
    fn bridge_name(&self, request: &NetworkRequest, networks: &[Network]) -> Result<String, NetworkError> {
        if let Some(name) = request.options.get("com.docker.network.bridge.name") {
            // A star would mean other devices, too, in rules: `nft` has no other wildcard.
            let plain = |byte: u8| byte.is_ascii_graphic() && !b"/\"*\\".contains(&byte);
            return match (1..=15).contains(&name.len()) && name.bytes().all(plain) {
                true => Ok(name.clone()),
                false => Err(NetworkError::Invalid(format!(
                    "invalid name for a device: `{name}`"
                ))),
            };
        }
        let names = (1..).map(|number| format!("pl{:08x}{number}", self.store.instance()));
        let is_free = |name: &String| !networks.iter().any(|network| network.bridge == *name);
        Ok(names.into_iter().find(is_free).expect("numbers do not end"))
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
        let of_device = |name: &str| format!("/proc/sys/net/ipv6/conf/{}/{name}", network.bridge);
        // The bridge has a link-local address in any case, and no container is a router of the host (CVE-2020-13401).
        host::set(&of_device("accept_ra"), "0");
        if network.ipv6.is_some() {
            host::set(&of_device("disable_ipv6"), "0");
        }
        for pool in network.pools() {
            netlink
                .add_address(index, pool.gateway, pool.subnet)
                .map_err(failed)?;
        }
        netlink.set_up(index).map_err(failed)?;
        enable_forwarding(network.ipv6.is_some())?;
        let instance = self.store.instance();
        let table = firewall::table(instance);
        let rules = firewall::installation(instance, &self.store.db().read(rows::bridges)?);
        let rules = rules + &foreign::opening(&network.bridge, &table)?;
        std::thread::scope(|scope| {
            scope.spawn(|| foreign::open_others(&network.bridge, &table));
            nft::run(&rules)
        })?;
        netlink.set_alias(index, &alias(network)).map_err(failed)
    }

    fn forget(&self, id: &str) -> Result<(), NetworkError> {
        self.store.db().write(|transaction| -> Result<(), NetworkError> {
            transaction.execute("DELETE FROM network WHERE id = ?1", [id])?;
            Ok(())
        })?;
        let _ = std::fs::remove_file(self.names_file(id));
        Ok(())
    }
}

/// Which of a container's places leads to everywhere else, for each family: the one with the highest priority, then one that
/// has both families, then the first by name. Internal networks lead nowhere.
pub fn default_routes(endpoints: &mut [Endpoint]) {
    let best = |endpoints: &[Endpoint], ipv6: bool| {
        let leads_out = |endpoint: &&Endpoint| {
            let has_address = match ipv6 {
                true => endpoint.address6.is_some(),
                false => endpoint.address.is_some(),
            };
            !endpoint.network.internal && has_address
        };
        let rank = |endpoint: &&Endpoint| {
            (
                -i64::from(endpoint.options.gateway_priority),
                endpoint.address6.is_none(),
                endpoint.network.name.clone(),
            )
        };
        let best = endpoints.iter().filter(leads_out).min_by_key(rank);
        best.map(|endpoint| endpoint.id.clone())
    };
    let (four, six) = (best(endpoints, false), best(endpoints, true));
    for endpoint in endpoints {
        endpoint.default_route = four.as_ref() == Some(&endpoint.id);
        endpoint.default_route6 = six.as_ref() == Some(&endpoint.id);
    }
}

/// The place by which a container's ports are reached: where its IPv4 leads out, else its IPv6.
pub fn way_out(endpoints: &[Endpoint]) -> Option<&Endpoint> {
    let four = endpoints.iter().find(|endpoint| endpoint.default_route);
    four.or_else(|| endpoints.iter().find(|endpoint| endpoint.default_route6))
}

/// What a finished bridge has as its alias: which network it is, and how many foreign chains it was let through.
fn alias(network: &Network) -> String {
    let id = &network.id[..network.id.len().min(12)];
    let subnet = network.main_pool().subnet;
    format!("plimsoll {subnet} {id} past {}", foreign::count())
}

pub(crate) fn open_netlink() -> Result<Netlink, NetworkError> {
    Netlink::open().map_err(|source| NetworkError::read("devices", source))
}

fn device(netlink: &mut Netlink, network: &Network) -> Result<Option<Link>, NetworkError> {
    netlink
        .link(&network.bridge)
        .map_err(|source| NetworkError::read("devices", source))
}

/// The default bridge as it is to be: a new subnet when there was none or the host now uses it otherwise.
fn settle_default(
    transaction: &Transaction<'_>,
    bridge: &str,
    taken: &[Subnet],
    mtu: u32,
) -> Result<Network, NetworkError> {
    let row = rows::by_name(transaction, DEFAULT_NETWORK)?.expect("made with the store");
    let network = match row.network {
        Some(network)
            if !taken
                .iter()
                .any(|subnet| subnet.overlaps(network.main_pool().subnet)) =>
        {
            Network { mtu, ..network }
        }
        _ => {
            // Those who remember an address of the old subnet get new ones.
            transaction.execute("DELETE FROM endpoint WHERE network = ?1", [&row.id])?;
            default_bridge(
                row.id,
                bridge,
                subnet::choose(taken).ok_or(NetworkError::NoFreeSubnet)?,
                mtu,
            )
        }
    };
    rows::update(transaction, &network)?;
    Ok(network)
}

fn default_bridge(id: String, bridge: &str, subnet: Subnet, mtu: u32) -> Network {
    let options = [
        ("com.docker.network.bridge.default_bridge", "true"),
        ("com.docker.network.bridge.enable_icc", "true"),
        ("com.docker.network.bridge.enable_ip_masquerade", "true"),
        ("com.docker.network.bridge.host_binding_ipv4", "0.0.0.0"),
        ("com.docker.network.bridge.name", bridge),
        ("com.docker.network.driver.mtu", &mtu.to_string()),
    ];
    Network {
        id,
        name: DEFAULT_NETWORK.to_owned(),
        bridge: bridge.to_owned(),
        ipv4: Some(Pool {
            subnet,
            gateway: subnet.gateway(),
            range: None,
            reserved: std::collections::BTreeMap::new(),
        }),
        ipv6: None,
        mtu,
        internal: false,
        attachable: false,
        labels: std::collections::BTreeMap::new(),
        options: options
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
    }
}

fn add_bridge(netlink: &mut Netlink, network: &Network) -> io::Result<u32> {
    netlink.add_bridge(&network.bridge, hardware_address(network.gateway()))?;
    let link = netlink.link(&network.bridge)?.ok_or(io::ErrorKind::NotFound)?;
    netlink.set_mtu(link.index, network.mtu)?;
    Ok(link.index)
}

/// Removes a bridge and the host ends of what hangs on it; fine when it is gone.
pub(crate) fn remove_bridge(netlink: &mut Netlink, bridge: &str) -> Result<(), NetworkError> {
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
