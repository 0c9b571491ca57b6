//! Published ports that go from one running container to another.
//!
//! They are never free in between: the sockets by which the old container's supervisor holds them are lent to the new one's,
//! and both accept connections until the old one is told to leave them. The rules that lead packets from elsewhere are
//! replaced in one transaction. Only where the address on the host changes, from one to all or back, the old one has to leave
//! the port before the new one can have it. Connections that are there stay where they are until the old container ends. Whoever does
//! this may be killed at any moment: then both hold the ports, and the old one's end takes back no rule that leads elsewhere.

use std::os::fd::AsFd as _;

use plimsoll_network::{BoundPort, PortRequest, PublishedPort};

use crate::containers::{Container, Containers};
use crate::network::port_requests;
use crate::protocol::{Reply, Request};
use crate::start::Supervisor;
use crate::{ContainerError, Result};

impl Supervisor {
    /// Has the container start without the ports that another one holds now: [`Containers::hand_over_ports`] brings them later.
    pub fn wait_for_ports_of(&mut self, other: &Container) {
        self.conditions.held = other.state.ports.clone();
    }
}

impl Containers {
    /// Gives a running container the ports it was started without, for another one had them; that one keeps its connections.
    pub async fn hand_over_ports(&self, from: &Container, to: &Container) -> Result<()> {
        let to = self.get(to.id())?;
        let wanted = lacking(&to);
        if wanted.is_empty() {
            return Ok(());
        }
        let (mut given, mut ports, mut in_the_way) = (Vec::new(), Vec::new(), Vec::new());
        for (held, socket) in self.lent_ports(from).await? {
            if let Some(published) = wanted.iter().find_map(|request| request.inherited(&held)) {
                ports.push(BoundPort { published, socket });
                given.push(held);
            } else if wanted.iter().any(|request| request.collides(&held)) {
                in_the_way.push(held);
            }
        }
        self.leave_ports(from, in_the_way.clone()).await?;
        // What the old one has left, or lost meanwhile, is free.
        let is_there = |request: &&PortRequest| {
            let given = |port: &BoundPort| request.inherited(&port.published).is_some();
            ports.iter().any(given)
        };
        let missing: Vec<_> = wanted.iter().filter(|request| !is_there(request)).collect();
        let bound: Result<Vec<_>, _> = missing.into_iter().map(plimsoll_network::bind).collect();
        let taken = match bound {
            Ok(bound) => {
                ports.extend(bound.into_iter().flatten());
                self.take_ports(&to, &ports).await
            }
            Err(error) => Err(error.into()),
        };
        drop(ports);
        if let Err(error) = taken {
            self.take_ports_again(from, &in_the_way).await;
            return Err(error);
        }
        self.leave_ports(from, given).await
    }

    async fn take_ports(&self, container: &Container, ports: &[BoundPort]) -> Result<()> {
        let fds: Vec<_> = ports.iter().map(|port| port.socket.as_fd()).collect();
        let named = ports.iter().map(|port| port.published.clone()).collect();
        let request = Request::TakePorts { ports: named };
        self.ask_with(container, &request, &fds).await.map(drop)
    }

    /// Has a container leave ports; one that does not run any more has none.
    async fn leave_ports(&self, container: &Container, ports: Vec<PublishedPort>) -> Result<()> {
        if ports.is_empty() {
            return Ok(());
        }
        match self.tell(container, &Request::LeavePorts { ports }).await {
            Err(ContainerError::NotRunning(_)) => Ok(()),
            left => left,
        }
    }

    /// Gives a container again what it left for nothing, as far as that is still free.
    async fn take_ports_again(&self, container: &Container, left: &[PublishedPort]) {
        let again = left.iter().filter_map(|port| {
            let request = PortRequest {
                host_ip: Some(port.host_ip),
                host_port: port.host_port,
                last_host_port: None,
                container_port: port.container_port,
                protocol: port.protocol,
            };
            plimsoll_network::bind(&request).ok()
        });
        let ports: Vec<_> = again.flatten().collect();
        if let Err(error) = self.take_ports(container, &ports).await {
            tracing::debug!(%error, container = container.name, "ports are not taken back");
        }
    }

    /// The ports of a container with their sockets; none of one that does not run any more.
    async fn lent_ports(&self, container: &Container) -> Result<Vec<(PublishedPort, std::os::fd::OwnedFd)>> {
        match self.ask_for_fds(container, &Request::LendPorts).await {
            Ok((Reply::Ports { ports }, fds)) => Ok(ports.into_iter().zip(fds).collect()),
            Ok((other, _)) => Err(crate::client::answered(other, container.short_id())),
            Err(ContainerError::NotRunning(_)) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

impl Container {
    /// Whether it runs without a port that it is to have: whoever was to hand it over was killed.
    pub fn lacks_ports(&self) -> bool {
        self.is_running() && !lacking(self).is_empty()
    }
}

/// The ports that a container is to have and has not.
fn lacking(container: &Container) -> Vec<PortRequest> {
    let state = &container.state;
    let requests = port_requests(&container.definition, &state.endpoints);
    let has = |request: &PortRequest| state.ports.iter().any(|port| request.inherited(port).is_some());
    requests
        .into_iter()
        .filter(|request| request.is_fixed() && !has(request))
        .collect()
}
