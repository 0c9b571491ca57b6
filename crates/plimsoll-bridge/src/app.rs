//! The project as all parts of a conversion look at it.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_compose_file::Project;
use plimsoll_compose_file::model::{Condition, Model, Service};
use plimsoll_diagnostics::Diagnostic;
use serde_json::{Value, json};

use crate::manifest::{Fields, Manifest};
use crate::notes::Notes;
use crate::{ImageFacts, keys, names, policies, services, things, waits, workload};

/// Labels that Docker's own conversion gives, and Compose its containers.
pub(crate) const PROJECT: &str = "com.docker.compose.project";
pub(crate) const SERVICE: &str = "com.docker.compose.service";
pub(crate) const VOLUME: &str = "com.docker.compose.volume";
pub(crate) const SECRET: &str = "com.docker.compose.secret";
const NETWORK: &str = "com.docker.compose.network.";

/// A project being converted.
pub(crate) struct App<'a> {
    pub(crate) project: &'a Project,
    pub(crate) model: Model,
    pub(crate) images: &'a BTreeMap<String, ImageFacts>,
    pub(crate) notes: Notes<'a>,
    /// Services of which others wait for the end.
    pub(crate) awaited: BTreeSet<String>,
}

impl<'a> App<'a> {
    pub(crate) fn new(
        project: &'a Project,
        images: &'a BTreeMap<String, ImageFacts>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let wrong = |error: serde_json::Error| {
            let place = &project.document.place;
            vec![place.error("compose", format!("cannot understand the project: {error}"))]
        };
        let model = project.model().map_err(wrong)?;
        let ends = |service: &Service| -> Vec<String> {
            let awaited = service
                .depends_on
                .iter()
                .filter(|(_, dependency)| dependency.condition == Condition::ServiceCompletedSuccessfully);
            awaited.map(|(name, _)| name.clone()).collect()
        };
        let awaited = model.services.values().flat_map(ends).collect();
        Ok(Self {
            project,
            model,
            images,
            notes: Notes::new(project),
            awaited,
        })
    }

    /// Every object, in the order in which the cluster may be given them.
    pub(crate) fn manifests(&self) -> Vec<Manifest> {
        let are_apart = self.check_names();
        let mut all = vec![things::namespace(self)];
        all.extend(things::configs(self));
        all.extend(things::secrets(self));
        all.extend(things::claims(self));
        all.extend(policies::of_networks(self));
        all.extend(waits::account(self));
        for (name, service) in &self.model.services {
            if let Some(node) = self.project.document.at(&["services", name]) {
                keys::note(&self.notes, name, node);
            }
            all.extend(workload::of(self, name, service));
            all.extend(services::of(self, name, service));
            all.extend(policies::of_service(self, name, service));
        }
        if are_apart {
            self.check_identities(&all);
        }
        all
    }

    /// The name of the namespace.
    pub(crate) fn namespace(&self) -> String {
        names::label(&self.project.name)
    }

    /// What an object is called, and to what it belongs.
    pub(crate) fn metadata(&self, name: &str, labels: &[(&str, &str)]) -> Fields {
        let mut all = vec![(PROJECT, names::word(&self.project.name, 63))];
        all.extend(labels.iter().map(|(key, value)| (*key, names::word(value, 63))));
        let mut metadata = Fields::new();
        metadata
            .set("name", name)
            .set("namespace", self.namespace())
            .set("labels", crate::manifest::pairs(all));
        metadata
    }

    /// The labels by which the pods of a service are found.
    pub(crate) fn selector(&self, service: &str) -> Value {
        json!({ PROJECT: names::word(&self.project.name, 63), SERVICE: names::word(service, 63) })
    }

    /// The image of a service.
    pub(crate) fn image(&self, name: &str, service: &Service) -> String {
        let built = || format!("{}-{name}", self.project.name);
        service.image.clone().unwrap_or_else(built)
    }

    /// Labels of compose as annotations, which may have any value.
    pub(crate) fn annotations(&self, path: &[&str], labels: &BTreeMap<String, String>) -> Value {
        let (good, bad): (Vec<_>, Vec<_>) = labels.iter().partition(|(key, _)| names::is_key(key));
        for (key, _) in bad {
            let path = [path, &[key.as_str()]].concat();
            self.notes
                .warn(&path, format!("Kubernetes has no annotation `{key}`"));
        }
        crate::manifest::pairs(
            good.into_iter()
                .map(|(key, value)| (key.as_str(), value.as_str())),
        )
    }

    /// Two names of compose may be one in Kubernetes.
    fn check_names(&self) -> bool {
        let mut are_apart = true;
        if self.namespace().starts_with("kube-") {
            let message = format!("namespace `{}` belongs to the cluster", self.namespace());
            self.notes
                .refuse(&["name"], message, "give the project another name");
        }
        let mut seen: BTreeMap<String, &str> = BTreeMap::new();
        for name in self.model.services.keys() {
            let made = names::service(name);
            if let Some(other) = seen.insert(made.clone(), name) {
                are_apart = false;
                self.notes.refuse(
                    &["services", name],
                    format!("services `{other}` and `{name}` would both be `{made}` in Kubernetes"),
                    "give one of them another name",
                );
            } else if made != name.to_lowercase() {
                self.notes.advise(
                    &["services", name],
                    format!("`{name}` is not a DNS name: other services reach it as `{made}` in Kubernetes"),
                    "name the service so in the compose file, too",
                );
            }
        }
        are_apart
    }

    /// Whatever names were made, no two objects may have one.
    fn check_identities(&self, manifests: &[Manifest]) {
        let mut seen = BTreeSet::new();
        let mut files = BTreeSet::new();
        for manifest in manifests {
            let (kind, name) = manifest.identity();
            let path = manifest
                .service
                .as_deref()
                .map_or(vec![], |service| vec!["services", service]);
            if !seen.insert((kind.clone(), name.clone())) || !files.insert(manifest.file.to_lowercase()) {
                self.notes.refuse(
                    &path,
                    format!("there would be two of {kind} `{name}`"),
                    "names that differ in letters which Kubernetes does not have become one: change one of them",
                );
            }
        }
    }
}

/// The label that says that a pod is on a network.
pub(crate) fn network_label(network: &str) -> String {
    format!("{NETWORK}{}", names::word(network, 63 - NETWORK.len()))
}
