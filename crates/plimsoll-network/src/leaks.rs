//! What dead processes left on the host: addresses, published ports, devices, rules.
//!
//! Everything on the host says whose it is: a device by its name, a published port by the address it leads to, a rule by its
//! comment and its bridge. Whether that owner lives is not known here but to whoever asks: see [`Claim`].

use plimsoll_store::{Leak, LeakKind, Lock, StoreError};
use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::netlink::Link;
use crate::networks::{open_netlink, remove_bridge};
use crate::nfnetlink::DeviceRule;
use crate::rows::parsed;
use crate::{NetworkError, Networks, firewall, foreign, nft, rows};

/// Takes the lock of an owner that does not live, so that it stays so; none where it lives. Owners are containers, by id, and
/// what builds call themselves (see [`Networks::allocate`]).
pub type Claim<'a> = &'a (dyn Fn(&str) -> Result<Option<Lock>, StoreError> + Sync);

/// What the host calls ports of our bridges, without the rest.
const PORT_PREFIX: &str = "plv";

/// A row of the places.
struct Row {
    id: String,
    owner: String,
    active: bool,
    has_container: bool,
    addresses: Vec<IpAddr>,
}

/// All there is, seen at one time.
struct View {
    places: Vec<Row>,
    bridges: Vec<String>,
    links: Vec<Link>,
    ports: Vec<firewall::Element>,
    rules: Vec<DeviceRule>,
}

impl View {
    /// Rules in the chains of others for bridges that no network has.
    fn stray_rules(&self) -> impl Iterator<Item = &DeviceRule> {
        let is_stray = |rule: &&DeviceRule| !self.bridges.contains(&rule.device);
        self.rules.iter().filter(is_stray)
    }
}

/// A device, and why it is nobody's.
type Stray<'a> = (&'a Link, String);

impl Networks {
    /// Returns what dead processes left on the host. Changes nothing; what is seen may be somebody's who is between two steps.
    pub fn leaks(&self, claim: Claim<'_>) -> Result<Vec<Leak>, NetworkError> {
        self.where_bridges_are(|| self.leaks_here(claim))
    }

    fn leaks_here(&self, claim: Claim<'_>) -> Result<Vec<Leak>, NetworkError> {
        let view = self.view()?;
        let mut leaks = Vec::new();
        each_dead(&view, claim, |places| {
            for place in places {
                let reason = format!("of {}, which does not run", short(&place.owner));
                let named = place.addresses.iter().map(ToString::to_string);
                leaks.extend(named.map(|name| Leak::new(LeakKind::Address, name, reason.clone())));
            }
            Ok(())
        })?;
        self.each_stray_port(&view, claim, |port| {
            let target = port.target().map(|target| target.to_string()).unwrap_or_default();
            let reason = format!("leads to {target}, which is nobody's");
            leaks.push(Leak::new(LeakKind::Port, port.key.clone(), reason));
            Ok(())
        })?;
        for (link, reason) in self.stray_links(&view, claim)? {
            leaks.push(Leak::new(LeakKind::Interface, link.name.clone(), reason));
        }
        for rule in view.stray_rules() {
            let reason = format!("for the bridge {}, which is no more", rule.device);
            leaks.push(Leak::new(LeakKind::Rule, rule.place(), reason));
        }
        for name in self.stray_names()? {
            let reason = "names of a network that is no more";
            leaks.push(Leak::new(LeakKind::File, format!("networks/{name}"), reason));
        }
        Ok(leaks)
    }

    /// Clears away what dead processes left on the host.
    pub fn tidy(&self, claim: Claim<'_>) -> Result<(), NetworkError> {
        self.where_bridges_are(|| self.tidy_here(claim))
    }

    fn tidy_here(&self, claim: Claim<'_>) -> Result<(), NetworkError> {
        // Nobody makes or removes a bridge meanwhile.
        let _lock = self.host_lock()?;
        let view = self.view()?;
        self.each_stray_port(&view, claim, |port| {
            firewall::retract(self.store.instance(), std::slice::from_ref(port))
        })?;
        each_dead(&view, claim, |places| match places[0].has_container {
            true => self.park(&places[0].owner),
            false => self.release(&places[0].owner),
        })?;
        let mut netlink = open_netlink()?;
        for (link, _) in self.stray_links(&view, claim)? {
            remove_bridge(&mut netlink, &link.name)?;
        }
        let script: String = view.stray_rules().map(foreign::deletion).collect();
        if !script.is_empty() {
            nft::run(&script)?;
        }
        for name in self.stray_names()? {
            let _ = std::fs::remove_file(self.store.run().join("networks").join(name));
        }
        Ok(())
    }

    /// A container has died and nobody gave back what it had: its published ports lead nowhere now, and its addresses are
    /// free once it is parked. The caller holds its lock.
    pub fn retract(&self, container: &str) -> Result<(), NetworkError> {
        self.where_bridges_are(|| self.retract_here(container))
    }

    fn retract_here(&self, container: &str) -> Result<(), NetworkError> {
        let places = self.places()?;
        let own = places.iter().filter(|place| place.owner == container);
        let addresses: Vec<IpAddr> = own.flat_map(|place| place.addresses.iter().copied()).collect();
        if !addresses.is_empty() {
            let mut ports = firewall::ports(self.store.instance())?;
            ports.retain(|port| port.target().is_some_and(|target| addresses.contains(&target)));
            firewall::retract(self.store.instance(), &ports)?;
        }
        Ok(())
    }

    fn view(&self) -> Result<View, NetworkError> {
        let mut netlink = open_netlink()?;
        let links = netlink
            .links()
            .map_err(|source| NetworkError::read("devices", source))?;
        let bridges = self.store.db().read(rows::bridges)?;
        let (ports, rules) = match (
            firewall::ports(self.store.instance()),
            foreign::ours(&self.table()),
        ) {
            // Who never made a network need not be able to.
            (Err(_), _) | (_, Err(_)) if bridges.is_empty() => (Vec::new(), Vec::new()),
            (ports, rules) => (ports?, rules?),
        };
        Ok(View {
            // After what they are compared with: what has its place now may have had no device before.
            places: self.places()?,
            bridges: bridges.into_iter().map(|network| network.bridge).collect(),
            links,
            ports,
            rules,
        })
    }

    fn table(&self) -> String {
        firewall::table(self.store.instance())
    }

    fn places(&self) -> Result<Vec<Row>, NetworkError> {
        self.store.db().read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT endpoint.id, container, active, container.id IS NOT NULL, address, address6
                 FROM endpoint LEFT JOIN container ON container.id = endpoint.container",
            )?;
            let rows = statement.query_map([], |row| {
                let four = parsed::<Ipv4Addr>(4, row.get(4)?)?.map(IpAddr::V4);
                let six = parsed::<Ipv6Addr>(5, row.get(5)?)?.map(IpAddr::V6);
                Ok(Row {
                    id: row.get(0)?,
                    owner: row.get(1)?,
                    active: row.get(2)?,
                    has_container: row.get(3)?,
                    addresses: four.into_iter().chain(six).collect(),
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Does something with every published port whose address no living owner has; an owner that is dead stays so meanwhile.
    fn each_stray_port(
        &self,
        view: &View,
        claim: Claim<'_>,
        mut work: impl FnMut(&firewall::Element) -> Result<(), NetworkError>,
    ) -> Result<(), NetworkError> {
        for port in &view.ports {
            let target = port.target();
            let has = |place: &&Row| target.is_some_and(|target| place.addresses.contains(&target));
            match view.places.iter().find(has) {
                None => work(port)?,
                Some(place) => {
                    if let Some(_lock) = claim(&place.owner)? {
                        work(port)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Bridges of no network, and ports of our bridges whose owner is dead.
    fn stray_links<'a>(&self, view: &'a View, claim: Claim<'_>) -> Result<Vec<Stray<'a>>, NetworkError> {
        let prefix = format!("pl{:08x}", self.store.instance());
        let is_ours =
            |name: &str| view.bridges.iter().any(|bridge| bridge == name) || name.starts_with(&prefix);
        let ours: HashSet<u32> = view
            .links
            .iter()
            .filter(|link| is_ours(&link.name))
            .map(|link| link.index)
            .collect();
        let mut strays = Vec::new();
        for link in &view.links {
            let is_port = link.master.is_some_and(|master| ours.contains(&master));
            if ours.contains(&link.index) && !view.bridges.contains(&link.name) {
                strays.push((link, "a bridge of no network".to_owned()));
            } else if is_port && link.name.starts_with(PORT_PREFIX) {
                let reason = stray_port(&link.name, &view.places, claim)?;
                strays.extend(reason.map(|reason| (link, reason)));
            }
        }
        Ok(strays)
    }

    fn stray_names(&self) -> Result<Vec<String>, NetworkError> {
        let known = self.list()?;
        let known: HashSet<_> = known
            .iter()
            .filter_map(|info| self.names_file(&info.id).file_name().map(str::to_owned))
            .collect();
        let entries = std::fs::read_dir(self.store.run().join("networks"));
        let names = entries.into_iter().flatten().flatten();
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        Ok(names.filter(|name| !known.contains(name)).collect())
    }
}

/// Why the host end of a container's device is nobody's; none where it is somebody's.
///
/// The place is there before the device, so one without a place has lost it.
fn stray_port(name: &str, places: &[Row], claim: Claim<'_>) -> Result<Option<String>, NetworkError> {
    let is_of = |place: &&Row| name.starts_with(&port_prefix(&place.id));
    let mut owners = places.iter().filter(is_of).map(|place| &place.owner).peekable();
    if owners.peek().is_none() {
        return Ok(Some("of nobody".to_owned()));
    }
    let mut reason = None;
    for owner in owners {
        match claim(owner)? {
            Some(_dead) => reason = Some(format!("of {}, which does not run", short(owner))),
            None => return Ok(None),
        }
    }
    Ok(reason)
}

/// How the names of a place's devices on the host begin.
pub(crate) fn port_prefix(place: &str) -> String {
    format!("{PORT_PREFIX}{}", place.get(..6).unwrap_or(place))
}

/// Does something with the places of each owner that is dead, while its lock is held: of containers with those that are taken,
/// of others with all.
fn each_dead(
    view: &View,
    claim: Claim<'_>,
    mut work: impl FnMut(&[&Row]) -> Result<(), NetworkError>,
) -> Result<(), NetworkError> {
    let mut owners: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for place in view
        .places
        .iter()
        .filter(|place| place.active || !place.has_container)
    {
        owners.entry(&place.owner).or_default().push(place);
    }
    for (owner, places) in owners {
        if let Some(_lock) = claim(owner)? {
            work(&places)?;
        }
    }
    Ok(())
}

/// As containers are called for short.
fn short(owner: &str) -> &str {
    match owner.len() {
        64 => &owner[..12],
        _ => owner,
    }
}
