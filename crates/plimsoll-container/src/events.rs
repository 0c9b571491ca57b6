//! What happens to containers, and to volumes and networks for their sake, in Docker's words.

use std::collections::BTreeMap;

use plimsoll_network::Endpoint;
use plimsoll_store::EventLog;

use crate::model::Definition;

/// One who writes down what happens to a container.
pub(crate) struct Witness<'a> {
    pub(crate) log: &'a EventLog,
    pub(crate) definition: &'a Definition,
    /// What the container is called now.
    pub(crate) name: &'a str,
}

impl Witness<'_> {
    /// Something happened to the container itself.
    pub(crate) fn container<const N: usize>(&self, action: &str, more: [(&str, String); N]) {
        let mut attributes: BTreeMap<_, _> = self.definition.labels.clone();
        attributes.insert("image".to_owned(), self.definition.image.clone());
        attributes.insert("name".to_owned(), self.name.to_owned());
        attributes.extend(more.map(|(name, value)| (name.to_owned(), value)));
        self.log
            .record("container", action, &self.definition.id, attributes);
    }

    /// Its program is about to run: it has its volumes and is on its networks.
    pub(crate) fn settled_in(&self, endpoints: &[Endpoint]) {
        for point in &self.definition.mounts {
            let Some(name) = &point.volume else { continue };
            let details = [
                ("container", self.definition.id.clone()),
                ("destination", point.target.to_string()),
                ("propagation", String::new()),
                ("read/write", point.writable.to_string()),
            ];
            volume(self.log, "mount", name, details);
        }
        self.networks("connect", endpoints);
    }

    /// Its program has ended.
    pub(crate) fn moved_out(&self, endpoints: &[Endpoint]) {
        self.networks("disconnect", endpoints);
        for name in self
            .definition
            .mounts
            .iter()
            .filter_map(|point| point.volume.as_ref())
        {
            volume(
                self.log,
                "unmount",
                name,
                [("container", self.definition.id.clone())],
            );
        }
    }

    fn networks(&self, action: &str, endpoints: &[Endpoint]) {
        for endpoint in endpoints {
            let network = &endpoint.network;
            let place = (network.id.as_str(), network.name.as_str(), "bridge");
            network_of(self.log, action, place, &self.definition.id);
        }
    }
}

/// Something happened to a network (its id, its name and its driver) for the sake of a container.
pub(crate) fn network_of(log: &EventLog, action: &str, network: (&str, &str, &str), container: &str) {
    let (id, name, driver) = network;
    let attributes = [("container", container), ("name", name), ("type", driver)];
    let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned()));
    log.record("network", action, id, attributes.into());
}

/// Something happened to a volume.
pub(crate) fn volume<const N: usize>(log: &EventLog, action: &str, name: &str, more: [(&str, String); N]) {
    let mut attributes: BTreeMap<_, _> = more.map(|(name, value)| (name.to_owned(), value)).into();
    attributes.insert("driver".to_owned(), "local".to_owned());
    log.record("volume", action, name, attributes);
}
