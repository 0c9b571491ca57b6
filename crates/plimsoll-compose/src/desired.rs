//! What a project asks for.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8PathBuf;
use plimsoll_compose_file::Project;
use plimsoll_compose_file::model::{Model, Service};
use serde_json::Value;

use crate::error::{ComposeError, Result};
use crate::graph;
use crate::spec::{unused, unused_of_network};

/// A project as its files have it, and what of it is written on its things.
#[derive(Debug)]
pub struct Desired {
    /// Its name.
    pub name: String,
    /// Services, networks, volumes, secrets, configs.
    pub model: Model,
    /// Services whose profiles are not active.
    pub inactive: BTreeSet<String>,
    /// What stands between the parts of a container's name; `_` as Compose 1 had it.
    pub(crate) separator: char,
    pub(crate) folder: Utf8PathBuf,
    pub(crate) files: Vec<Utf8PathBuf>,
    /// Files of variables that the user named.
    pub(crate) environment_files: Vec<Utf8PathBuf>,
    /// Values for secrets and configs that come from a variable.
    pub(crate) environment: BTreeMap<String, String>,
    /// Services as they are kept with their containers.
    essences: BTreeMap<String, Value>,
    hashes: BTreeMap<String, String>,
    network_hashes: BTreeMap<String, String>,
    volume_hashes: BTreeMap<String, String>,
}

impl Desired {
    /// Reads a project. With `compatible` containers are called as by Compose 1.
    pub fn new(project: &Project, compatible: bool) -> Result<Self> {
        let model = project.model().map_err(ComposeError::Model)?;
        let services = project.to_json();
        let services = services.get("services").and_then(Value::as_object);
        let essences = services.into_iter().flatten();
        let hash = |names: Vec<&String>, hash: &dyn Fn(&str) -> Option<String>| {
            let pairs = names
                .into_iter()
                .filter_map(|name| Some((name.clone(), hash(name)?)));
            pairs.collect()
        };
        Ok(Self {
            name: project.name.clone(),
            inactive: project.inactive.keys().cloned().collect(),
            separator: if compatible { '_' } else { '-' },
            folder: project.folder.clone(),
            files: project.files.clone(),
            environment_files: Vec::new(),
            environment: secrets(&model, project),
            essences: essences
                .map(|(name, service)| (name.clone(), essence(service, model.services.get(name))))
                .collect(),
            hashes: hash(model.services.keys().collect(), &|name| project.config_hash(name)),
            network_hashes: hash(model.networks.keys().collect(), &|key| {
                project.resource_hash("networks", key)
            }),
            volume_hashes: hash(model.volumes.keys().collect(), &|key| {
                project.resource_hash("volumes", key)
            }),
            model,
        })
    }

    /// Says which files of variables the user named.
    #[must_use]
    pub fn with_environment_files(self, environment_files: Vec<Utf8PathBuf>) -> Self {
        Self {
            environment_files,
            ..self
        }
    }

    /// Returns a service; the error of one that is not there knows the names that are.
    pub fn service(&self, name: &str) -> Result<&Service> {
        self.model
            .services
            .get(name)
            .ok_or_else(|| ComposeError::NoService {
                name: name.to_owned(),
                known: self.model.services.keys().cloned().collect(),
            })
    }

    /// These services and, if asked for, all that they depend on; all services where none is named.
    pub fn selected(&self, names: &[String], with_dependencies: bool) -> Result<BTreeSet<String>> {
        for name in names {
            self.service(name)?;
        }
        Ok(graph::closure(&self.model, names, with_dependencies))
    }

    /// The image of a service: the one it names, or the one it builds.
    pub fn image(&self, service: &str) -> String {
        let named = self
            .model
            .services
            .get(service)
            .and_then(|service| service.image.clone());
        named.unwrap_or_else(|| format!("{}{}{service}", self.name, self.separator))
    }

    /// What a container of a service is called.
    pub fn container_name(&self, service: &str, number: u32) -> String {
        let named = self.model.services.get(service);
        match named.and_then(|service| service.container_name.clone()) {
            Some(name) => name,
            None => {
                let separator = self.separator;
                format!("{}{separator}{service}{separator}{number}", self.name)
            }
        }
    }

    /// Keys of active services that are accepted and have no effect here, such as `services.web.isolation`.
    pub fn unused_keys(&self) -> Vec<String> {
        let services = self.model.services.iter();
        let of_services = services.flat_map(|(name, service)| {
            let keys = unused(service).into_iter();
            keys.map(move |key| format!("services.{name}.{key}"))
        });
        let networks = self.model.networks.iter();
        let of_networks = networks.flat_map(|(key, network)| {
            let keys = unused_of_network(network).into_iter();
            keys.map(move |name| format!("networks.{key}.{name}"))
        });
        of_services.chain(of_networks).collect()
    }

    pub(crate) fn hash(&self, service: &str) -> &str {
        self.hashes.get(service).map_or("", String::as_str)
    }

    pub(crate) fn network_hash(&self, key: &str) -> &str {
        self.network_hashes.get(key).map_or("", String::as_str)
    }

    pub(crate) fn volume_hash(&self, key: &str) -> &str {
        self.volume_hashes.get(key).map_or("", String::as_str)
    }

    pub(crate) fn essence(&self, service: &str) -> Option<&Value> {
        self.essences.get(service)
    }

    /// Whether a name is one of its services, active or not.
    pub(crate) fn knows(&self, service: &str) -> bool {
        self.model.services.contains_key(service) || self.inactive.contains(service)
    }
}

/// What is kept with the containers of a service: what they depend on, with the key of ours that Docker does not know.
fn essence(service: &Value, read: Option<&Service>) -> Value {
    let mut kept = crate::reason::essence(service);
    let healing = read.and_then(|read| read.extensions.get(Service::AUTOHEAL));
    if let (Some(fields), Some(healing)) = (kept.as_object_mut(), healing) {
        fields.insert(Service::AUTOHEAL.to_owned(), healing.clone());
    }
    kept
}

/// The variables that secrets and configs name, and no others.
fn secrets(model: &Model, project: &Project) -> BTreeMap<String, String> {
    let objects = model.secrets.values().chain(model.configs.values());
    let names = objects.filter_map(|object| object.environment.as_ref());
    let values = names.filter_map(|name| {
        let origin = project.environment.get(name)?;
        Some((name.clone(), origin.value.clone()))
    });
    values.collect()
}
