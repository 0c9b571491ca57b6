//! Ports of the host that the files leave open, and which a container got.

use std::collections::BTreeSet;

use plimsoll_compose_file::model::Port;
use plimsoll_container::Container;
use plimsoll_network::PublishedPort;

use super::Work;

impl Work {
    /// The ports that were found for a container, of a range or any: `28000->80/tcp`. Nothing where the files name each.
    pub(super) fn found_ports(&self, service: &str, container: &Container) -> String {
        let desired = self.desired.as_deref();
        let service = desired.and_then(|desired| desired.model.services.get(service));
        if !service.is_some_and(|service| service.ports.iter().any(is_open)) {
            return String::new();
        }
        let present = self.converge.containers.get(container.id());
        let ports = present.map(|present| present.state.ports).unwrap_or_default();
        // One port of both families is one.
        let all: BTreeSet<String> = ports.iter().map(text).collect();
        all.into_iter().collect::<Vec<_>>().join(", ")
    }
}

fn is_open(port: &Port) -> bool {
    match port.published.as_deref() {
        None | Some("" | "0") => true,
        Some(published) => published.contains('-'),
    }
}

/// As `ps` has it, but for what is published everywhere.
fn text(port: &PublishedPort) -> String {
    let inner = format!("{}/{}", port.container_port, port.protocol);
    match port.host_ip.is_unspecified() {
        true => format!("{}->{inner}", port.host_port),
        false => format!("{}:{}->{inner}", port.host_ip, port.host_port),
    }
}
