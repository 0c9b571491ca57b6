//! What the supervisor does for the container's network: published ports, names, and changes while it runs.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use camino::{Utf8Path, Utf8PathBuf};
use plimsoll_network::{Endpoint, NameSockets, NameTable, PublishedPort, way_out};
use tokio::task::JoinSet;

use super::life::Shim;
use super::names::NameServer;
use super::proxy::Served;
use super::{chain, proxy};
use crate::Result;
use crate::protocol::NetworkView;

/// The services of a container's network.
pub(super) struct Network {
    /// Run-time folder of the store, where names are written down.
    run: Utf8PathBuf,
    /// Where published ports are proxied to.
    target: Rc<Cell<Option<IpAddr>>>,
    served: RefCell<Vec<Served>>,
    names: RefCell<Option<Rc<NameServer>>>,
    tasks: RefCell<JoinSet<()>>,
}

impl Network {
    pub(super) fn new(run: &Utf8Path) -> Self {
        Self {
            run: run.to_owned(),
            target: Rc::default(),
            served: RefCell::default(),
            names: RefCell::default(),
            tasks: RefCell::default(),
        }
    }

    /// Starts what the container has from its start.
    pub(super) fn serve(
        &self,
        view: &NetworkView,
        ports: Vec<(PublishedPort, OwnedFd)>,
        names: Option<NameSockets>,
    ) {
        self.target.set(published_at(&view.endpoints));
        self.serve_ports(ports);
        self.answer(view, names);
    }

    fn serve_ports(&self, ports: Vec<(PublishedPort, OwnedFd)>) {
        let served = proxy::serve(&mut self.tasks.borrow_mut(), &self.target, ports);
        self.served.borrow_mut().extend(served);
    }

    /// The published ports, for another to serve, too.
    pub(super) fn lend(&self) -> Vec<(PublishedPort, Rc<dyn AsFd>)> {
        let served = self.served.borrow();
        served.iter().map(Served::lend).collect()
    }

    /// Serves ports that another container has had so far.
    pub(super) fn take(&self, shim: &Shim, ports: Vec<PublishedPort>, sockets: Vec<OwnedFd>) -> Result<()> {
        let endpoints = shim.state.borrow().endpoints.clone();
        plimsoll_network::publish(shim.definition().instance, &endpoints, &ports)?;
        shim.update(|state| state.ports.extend(ports.iter().cloned()));
        self.serve_ports(ports.into_iter().zip(sockets).collect());
        Ok(())
    }

    /// Leaves ports to another container, to which the rules lead already or will: unless that holds them too they are free
    /// afterwards. Connections that are there go on.
    pub(super) async fn leave(&self, shim: &Shim, ports: &[PublishedPort]) {
        // A rule for other addresses would go on leading here.
        unpublish(shim.definition().instance, &shim.state.borrow().endpoints, ports);
        shim.update(|state| state.ports.retain(|port| !ports.contains(port)));
        let is_left = |served: &mut Served| ports.contains(&served.port);
        let left: Vec<Served> = self.served.borrow_mut().extract_if(.., is_left).collect();
        for served in left {
            served.close().await;
        }
    }

    /// Ends everything: ports are free afterwards.
    pub(super) async fn stop(&self) {
        drop(self.served.take());
        let mut tasks = self.tasks.take();
        tasks.shutdown().await;
    }

    /// The container is on other networks now.
    pub(super) fn change(&self, shim: &Shim, view: NetworkView, names: Option<NameSockets>) -> Result<()> {
        let (old, ports) = {
            let state = shim.state.borrow();
            (state.endpoints.clone(), state.ports.clone())
        };
        self.target.set(published_at(&view.endpoints));
        self.answer(&view, names);
        let instance = shim.definition().instance;
        let moved = !ports.is_empty() && route(&old) != route(&view.endpoints);
        if moved {
            plimsoll_network::unpublish(instance, &old, &ports)?;
        }
        let endpoints = view.endpoints;
        shim.update(|state| state.endpoints.clone_from(&endpoints));
        if moved {
            plimsoll_network::publish(instance, &endpoints, &ports)?;
        }
        Ok(())
    }

    fn answer(&self, view: &NetworkView, names: Option<NameSockets>) {
        let links = view
            .links
            .iter()
            .map(|link| (link.alias.clone(), link.id.clone()));
        let networks = view.endpoints.iter().map(|endpoint| &endpoint.network);
        let table = NameTable::new(&self.run, networks, links.collect());
        let mut server = self.names.borrow_mut();
        match (&*server, names) {
            (Some(server), _) => server.replace(table, view.upstream.clone()),
            (None, Some(sockets)) => {
                let new = NameServer::new(table, view.upstream.clone());
                if let Err(error) = new.serve(&mut self.tasks.borrow_mut(), sockets.udp, sockets.tcp) {
                    eprintln!("cannot answer questions about names: {error}");
                }
                *server = Some(new);
            }
            (None, None) => {}
        }
    }
}

/// The container's network namespace.
pub(super) fn namespace(shim: &Shim) -> io::Result<OwnedFd> {
    // The program is a child that nobody else reaps, so its number is nobody else's.
    let pid = shim.state.borrow().pid;
    Ok(File::open(format!("/proc/{pid}/ns/net"))?.into())
}

/// Takes published ports back, as far as it can be done.
pub(super) fn unpublish(instance: u32, endpoints: &[Endpoint], ports: &[PublishedPort]) {
    if let Err(error) = plimsoll_network::unpublish(instance, endpoints, ports) {
        eprintln!("cannot take back published ports: {}", chain(&error));
    }
}

/// Where published ports lead to.
fn published_at(endpoints: &[Endpoint]) -> Option<IpAddr> {
    way_out(endpoints).map(Endpoint::main_address)
}

fn route(endpoints: &[Endpoint]) -> Vec<(&str, bool, bool)> {
    let leads_out = endpoints
        .iter()
        .filter(|endpoint| endpoint.default_route || endpoint.default_route6);
    leads_out
        .map(|endpoint| {
            (
                endpoint.id.as_str(),
                endpoint.default_route,
                endpoint.default_route6,
            )
        })
        .collect()
}
