//! A container and its networks: what is made before it starts, and what changes while it runs.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd as _, OwnedFd};
use std::panic::resume_unwind;
use std::thread::{self, JoinHandle};

use plimsoll_network::{
    AttachOptions, BoundPort, DEFAULT_NETWORK, Endpoint, NameSockets, NetworkError, NetworkInfo, Networks,
    PortRequest, PublishedPort, default_routes, way_out,
};
use plimsoll_runtime::NetworkNamespace;

use crate::containers::{Container, Containers};
use crate::create::CreateOptions;
use crate::model::{Definition, NetworkMode, Paths};
use crate::protocol::{NetworkView, Request};
use crate::{ContainerError, Result, events};

/// Docker's word for the host as seen from the container, in `--add-host`.
const HOST_GATEWAY: &str = "host-gateway";

const LOOPBACK: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n\
                        ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";

/// A container's network, ready for its supervisor.
#[derive(Default)]
pub(crate) struct Prepared {
    pub(crate) view: NetworkView,
    /// None in the host's network, and where the runtime makes one.
    pub(crate) namespace: Option<OwnedFd>,
    /// Of the name server, on user networks.
    pub(crate) names: Option<NameSockets>,
    pub(crate) ports: Vec<BoundPort>,
}

/// A network namespace that nobody is in yet. It needs no address and no lock, so it can be made long before its container
/// starts; it is gone when this is dropped.
pub(crate) struct Namespace {
    fd: OwnedFd,
    /// On user networks: the name server's rules, which `nft` takes its time for.
    names: Option<JoinHandle<std::result::Result<NameSockets, NetworkError>>>,
}

impl Namespace {
    /// Begins to make the one that a container of this mode has; none where it has none of its own.
    pub(crate) fn begin(mode: &NetworkMode) -> Result<Option<Self>> {
        if mode.primary().is_none() {
            return Ok(None);
        }
        let fd = plimsoll_network::namespace()?;
        let names = match mode {
            NetworkMode::User(_) => {
                let inside = fd.try_clone();
                let inside = inside.map_err(ContainerError::file("duplicate", "a namespace"))?;
                Some(thread::spawn(move || {
                    plimsoll_network::name_service(inside.as_fd())
                }))
            }
            _ => None,
        };
        Ok(Some(Self { fd, names }))
    }

    /// Its name server, waited for or made now.
    fn names(&mut self) -> Result<NameSockets> {
        let made = match self.names.take() {
            Some(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            None => plimsoll_network::name_service(self.fd.as_fd()),
        };
        Ok(made?)
    }
}

impl NetworkMode {
    /// The network that a container is on when it says nothing else; none where it has no networks of its own.
    pub(crate) fn primary(&self) -> Option<&str> {
        match self {
            Self::Bridge => Some(DEFAULT_NETWORK),
            Self::User(name) => Some(name),
            Self::Host | Self::None | Self::Container(_) => None,
        }
    }

    /// What the runtime is told.
    pub(crate) fn namespace(&self) -> NetworkNamespace {
        match self {
            Self::Host => NetworkNamespace::Host,
            Self::None => NetworkNamespace::None,
            Self::Bridge | Self::User(_) | Self::Container(_) => NetworkNamespace::Given,
        }
    }
}

impl Containers {
    /// Takes containers off a network that have ended and are still on it: their supervisors are about to do so, and nobody
    /// who stops one waits for that. Whoever removes the network does this first.
    pub fn leave_ended(&self, network: &NetworkInfo) -> Result<()> {
        for member in Networks::new(&self.store).members(&network.id)? {
            if self.get(&member.container).is_ok_and(|found| !found.is_running()) {
                self.reap(&member.container, true)?;
            }
        }
        Ok(())
    }

    /// Makes the places on networks that the options ask for.
    pub(crate) fn attach_all(&self, id: &str, options: &CreateOptions) -> Result<()> {
        let networks = Networks::new(&self.store);
        let called = options.name.as_deref().unwrap_or(&id[..12]);
        for (name, place) in &options.attachments {
            let mut place = place.clone();
            place.hostname = options.hostname.clone().unwrap_or_default();
            networks.attach(id, called, &networks.get(name)?, &place)?;
        }
        Ok(())
    }

    /// Resolves names that must be there when a container is made: whose network it shares, and whom it is linked to.
    pub(crate) fn resolve_mode(&self, mode: &NetworkMode) -> Result<NetworkMode> {
        Ok(match mode {
            NetworkMode::Container(name) => {
                let joined = |error| match error {
                    ContainerError::NotFound { name, .. } => ContainerError::Option(format!(
                        "joining network namespace of container: No such container: {name}"
                    )),
                    error => error,
                };
                NetworkMode::Container(self.get(name).map_err(joined)?.id().to_owned())
            }
            NetworkMode::User(name) => {
                let info = Networks::new(&self.store).get(name)?;
                match info.driver.as_str() {
                    "host" => NetworkMode::Host,
                    "null" => NetworkMode::None,
                    _ if info.name == DEFAULT_NETWORK => NetworkMode::Bridge,
                    _ => mode.clone(),
                }
            }
            mode => mode.clone(),
        })
    }

    /// Addresses, a namespace and ports; of those that may be any, the ones it had `last` if they are free, and none that
    /// another has `held` so far. `shared` is the namespace of the container whose network it shares, `made` one that was made
    /// before.
    pub(crate) fn prepare_network(
        &self,
        definition: &Definition,
        shared: Option<OwnedFd>,
        made: Option<Namespace>,
        (last, held): (&[PublishedPort], &[PublishedPort]),
    ) -> Result<Prepared> {
        if shared.is_some() {
            return Ok(Prepared {
                namespace: shared,
                ..Prepared::default()
            });
        }
        let Some(primary) = definition.network.primary() else {
            return Ok(Prepared::default());
        };
        let begun = made.map_or_else(|| Namespace::begin(&definition.network), |made| Ok(Some(made)));
        let mut namespace = begun?.expect("it has a network of its own");
        let networks = Networks::new(&self.store);
        let endpoints = networks.join(&definition.id, primary)?;
        let ports = bind(definition, &endpoints, last, held)?;
        for endpoint in &endpoints {
            networks.connect(namespace.fd.as_fd(), endpoint)?;
        }
        let names = match endpoints.iter().all(|endpoint| endpoint.network.is_default()) {
            true => None,
            false => Some(namespace.names()?),
        };
        Ok(Prepared {
            view: self.view(definition, endpoints)?,
            namespace: Some(namespace.fd),
            names,
            ports,
        })
    }

    /// The namespace of a running container.
    pub(crate) async fn namespace_of(&self, id: &str) -> Result<OwnedFd> {
        let target = self.get(id)?;
        let not_running = || {
            ContainerError::Option(format!(
                "cannot join network of a non running container: {}",
                target.id()
            ))
        };
        if !target.is_running() {
            return Err(not_running());
        }
        let (_, fds) = self.ask_with(&target, &Request::Namespace, &[]).await?;
        fds.into_iter().next().ok_or_else(not_running)
    }

    /// Puts a container on one more network; at once when it runs.
    pub async fn connect(&self, container: &Container, network: &str, options: &AttachOptions) -> Result<()> {
        let networks = Networks::new(&self.store);
        let info = networks.get(network)?;
        check_connection(container, &info)?;
        let _lock = self.lock_in_background(container.id()).await?;
        let container = self.get(container.id())?;
        let primary = container.definition.network.primary();
        if let Some(primary) = primary.filter(|primary| *primary != info.name)
            && networks.attachments(container.id())?.is_empty()
        {
            // Before its first start it has no place yet, but the one it would get must not be lost.
            let first = networks.get(primary)?;
            networks.attach(container.id(), &container.name, &first, &AttachOptions::default())?;
        }
        let mut options = options.clone();
        options.hostname = own_hostname(&container.definition);
        networks.attach(container.id(), &container.name, &info, &options)?;
        let done = match container.is_running() {
            true => self.plug(&container, &info).await,
            false => Ok(()),
        };
        if done.is_err() {
            networks.detach(container.id(), &container.name, &info)?;
        } else if container.is_running() {
            self.network_event("connect", &info, container.id());
        }
        done
    }

    /// Takes a container off a network; at once when it runs. With `force` also one that is no more.
    pub async fn disconnect(&self, container: &Container, network: &str) -> Result<()> {
        let networks = Networks::new(&self.store);
        let info = networks.get(network)?;
        if matches!(container.definition.network, NetworkMode::Host) {
            return Err(ContainerError::Option(
                "container cannot be disconnected from host network or connected to host network".to_owned(),
            ));
        }
        let _lock = self.lock_in_background(container.id()).await?;
        let container = self.get(container.id())?;
        networks.detach(container.id(), &container.name, &info)?;
        if container.is_running() {
            self.unplug(&container, &info).await?;
        }
        self.network_event("disconnect", &info, container.id());
        Ok(())
    }

    async fn plug(&self, container: &Container, info: &NetworkInfo) -> Result<()> {
        let mut endpoints = container.state.endpoints.clone();
        let had_names = endpoints.iter().any(|endpoint| !endpoint.network.is_default());
        let networks = Networks::new(&self.store);
        let endpoint = networks.join_one(container.id(), info, &endpoints)?;
        endpoints.push(endpoint.clone());
        default_routes(&mut endpoints);
        let namespace = self.namespace_of(container.id()).await?;
        networks.connect(namespace.as_fd(), &endpoint)?;
        let told = self.rearrange(container, endpoints, &namespace, had_names).await;
        if told.is_err() {
            networks.disconnect(&endpoint)?;
        }
        told
    }

    async fn unplug(&self, container: &Container, info: &NetworkInfo) -> Result<()> {
        let (gone, mut endpoints): (Vec<_>, Vec<_>) = container
            .state
            .endpoints
            .iter()
            .cloned()
            .partition(|endpoint| endpoint.network.id == info.id);
        let namespace = self.namespace_of(container.id()).await?;
        for endpoint in &gone {
            Networks::new(&self.store).disconnect(endpoint)?;
        }
        default_routes(&mut endpoints);
        self.rearrange(container, endpoints, &namespace, true).await
    }

    /// Routes, files and the supervisor follow the new set of places. Without names so far, a name server is made for the first
    /// network that has some.
    async fn rearrange(
        &self,
        container: &Container,
        endpoints: Vec<Endpoint>,
        namespace: &OwnedFd,
        had_names: bool,
    ) -> Result<()> {
        let definition = &container.definition;
        plimsoll_network::set_default_routes(namespace.as_fd(), &endpoints)?;
        let has_names = endpoints.iter().any(|endpoint| !endpoint.network.is_default());
        let names = match has_names && !had_names {
            true => Some(plimsoll_network::name_service(namespace.as_fd())?),
            false => None,
        };
        let mut view = self.view(definition, endpoints)?;
        // It asks its own server since then, and goes on doing so.
        view.has_names |= had_names;
        write_files(definition, &view, &self.paths(container.id()))?;
        let fds: Vec<_> = names
            .iter()
            .flat_map(|names| [names.udp.as_fd(), names.tcp.as_fd()])
            .collect();
        let request = Request::Network {
            view,
            sockets: !fds.is_empty(),
        };
        self.ask_with(container, &request, &fds).await.map(drop)
    }

    /// What the supervisor has to know.
    pub(crate) fn view(&self, definition: &Definition, endpoints: Vec<Endpoint>) -> Result<NetworkView> {
        let leads_out = endpoints.iter().any(|endpoint| !endpoint.network.internal);
        let upstream = match leads_out {
            true => Networks::new(&self.store).upstream(&definition.resolver),
            false => Vec::new(),
        };
        let mut links = Vec::new();
        for (target, alias) in &definition.links {
            let (id, name) = match self.get(target) {
                Ok(container) => (container.id().to_owned(), container.name),
                Err(ContainerError::NotFound { .. }) => continue,
                Err(error) => return Err(error),
            };
            let default = endpoints.iter().any(|endpoint| endpoint.network.is_default());
            let address = match default {
                true => self.linked_address(&id, &name, alias)?,
                false => None,
            };
            links.push(Link {
                id,
                name,
                alias: alias.clone(),
                address,
            });
        }
        Ok(NetworkView {
            has_names: endpoints.iter().any(|endpoint| !endpoint.network.is_default()),
            endpoints,
            upstream,
            links,
        })
    }

    /// On the default bridge there are no names, so a link is an address for the hosts file.
    fn linked_address(&self, id: &str, name: &str, alias: &str) -> Result<Option<IpAddr>> {
        let target = self.get(id)?;
        if !target.is_running() {
            return Err(ContainerError::Option(format!(
                "Cannot link to a non running container: /{name} AS /{alias}"
            )));
        }
        let on_default = |endpoint: &&Endpoint| endpoint.network.is_default();
        let endpoint = target.state.endpoints.iter().find(on_default);
        Ok(endpoint.map(Endpoint::main_address))
    }

    async fn lock_in_background(&self, id: &str) -> Result<plimsoll_store::Lock> {
        let (this, id) = (self.clone(), id.to_owned());
        tokio::task::spawn_blocking(move || this.lock(&id))
            .await
            .map_err(|_| ContainerError::Interrupted)?
    }

    fn network_event(&self, action: &str, info: &NetworkInfo, container: &str) {
        let network = (info.id.as_str(), info.name.as_str(), info.driver.as_str());
        events::network_of(&self.store.events(), action, network, container);
    }
}

/// Somebody a container is linked to.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Link {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) alias: String,
    /// On the default bridge.
    pub(crate) address: Option<IpAddr>,
}

fn check_connection(container: &Container, info: &NetworkInfo) -> Result<()> {
    let refused = |text: &str| Err(ContainerError::Option(text.to_owned()));
    match (&container.definition.network, info.driver.as_str()) {
        (_, "host") => refused(
            "cannot connect container to host network - container must be created in host network mode",
        ),
        (NetworkMode::None, _) | (_, "null") => refused(
            "container cannot be connected to multiple networks with one of the networks in private (none) mode",
        ),
        (NetworkMode::Host | NetworkMode::Container(_), _) => refused(
            "container sharing network namespace with another container or host cannot be connected to any other network",
        ),
        _ => Ok(()),
    }
}

/// The name a user gave it; one that follows from the id is known anyway.
fn own_hostname(definition: &Definition) -> String {
    match definition.spec.hostname == definition.id[..12] {
        true => String::new(),
        false => definition.spec.hostname.clone(),
    }
}

/// Which ports a container is to have: none where it cannot be reached; Docker discards those, too.
pub(crate) fn port_requests(definition: &Definition, endpoints: &[Endpoint]) -> Vec<PortRequest> {
    let Some(out) = way_out(endpoints) else {
        return Vec::new();
    };
    let ports = definition.ports.iter().cloned();
    ports
        .map(|port| PortRequest {
            host_ip: port.host_ip.or_else(|| out.network.host_binding()),
            ..port
        })
        .collect()
}

/// Binds the ports of a container, but for those that another still has.
fn bind(
    definition: &Definition,
    endpoints: &[Endpoint],
    last: &[PublishedPort],
    held: &[PublishedPort],
) -> Result<Vec<BoundPort>> {
    let Some(out) = way_out(endpoints) else {
        return Ok(Vec::new());
    };
    let mut bound: Vec<BoundPort> = Vec::new();
    for port in port_requests(definition, endpoints) {
        if held.iter().any(|held| port.collides(held)) {
            continue;
        }
        let is_new = |last: &&PublishedPort| !bound.iter().any(|bound| bound.published == **last);
        let again = last.iter().filter(is_new).find_map(|last| port.again(last));
        if let Some(same) = again.and_then(|again| plimsoll_network::bind(&again).ok()) {
            bound.extend(same);
            continue;
        }
        let named = |source: NetworkError| match source {
            NetworkError::PortTaken { .. } | NetworkError::RangeTaken { .. } => ContainerError::Ports {
                network: out.network.name.clone(),
                source,
            },
            source => source.into(),
        };
        bound.extend(plimsoll_network::bind(&port).map_err(named)?);
    }
    Ok(bound)
}

/// Writes the container's own /etc/hosts, resolv.conf and hostname. In place: a mount shows the file, not the name.
pub(crate) fn write_files(definition: &Definition, view: &NetworkView, paths: &Paths) -> Result<()> {
    if matches!(definition.network, NetworkMode::Container(_)) {
        // It sees those of the container it shares the network with.
        return Ok(());
    }
    let write = |path: camino::Utf8PathBuf, text: String| {
        fs::write(&path, text).map_err(ContainerError::file("write", &path))
    };
    let base = match definition.network {
        NetworkMode::Host => fs::read_to_string("/etc/hosts").unwrap_or_else(|_| LOOPBACK.to_owned()),
        _ => LOOPBACK.to_owned(),
    };
    write(paths.hosts(), hosts(&base, definition, view))?;
    let resolver = &definition.resolver;
    let has_ipv6 = view.endpoints.iter().any(|endpoint| endpoint.address6.is_some());
    let resolver = match definition.network {
        _ if view.has_names => resolver.on_user_network(),
        NetworkMode::Bridge | NetworkMode::User(_) => resolver.on_bridge(has_ipv6),
        _ => resolver.on_host(),
    };
    write(paths.resolv_conf(), resolver)?;
    write(paths.hostname(), format!("{}\n", definition.spec.hostname))
}

fn hosts(base: &str, definition: &Definition, view: &NetworkView) -> String {
    let mut text = base.to_owned();
    let gateway = way_out(&view.endpoints)
        .or(view.endpoints.first())
        .map_or(Ipv4Addr::LOCALHOST.into(), |endpoint| endpoint.network.gateway());
    for (name, address) in &definition.extra_hosts {
        let address = if address == HOST_GATEWAY {
            gateway.to_string()
        } else {
            address.clone()
        };
        text.push_str(&format!("{address}\t{name}\n"));
    }
    for link in &view.links {
        if let Some(address) = link.address {
            let mut names = vec![link.alias.as_str(), &link.id[..12], &link.name];
            names.dedup();
            text.push_str(&format!("{address}\t{}\n", names.join(" ")));
        }
    }
    let mut hostname = definition.spec.hostname.clone();
    if !definition.domainname.is_empty() {
        hostname = format!("{hostname}.{}", definition.domainname);
    }
    let short = hostname.split('.').next().filter(|short| *short != hostname);
    let alias = short.map(|short| format!(" {short}")).unwrap_or_default();
    for endpoint in &view.endpoints {
        let six = endpoint.address6.map(IpAddr::V6);
        for address in endpoint.address.map(IpAddr::V4).into_iter().chain(six) {
            text.push_str(&format!("{address}\t{hostname}{alias}\n"));
        }
    }
    text
}
