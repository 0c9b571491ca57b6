//! What a project comes to.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8PathBuf;
use plimsoll_diagnostics::Diagnostic;
use serde_json::{Map, Value as Json};
use sha2::{Digest as _, Sha256};

use crate::canonical::{Flavour, canonical};
use crate::check::leave_out_unused;
use crate::emit::as_go;
use crate::load::Origin;
use crate::node::{Entry, Node, Value};
use crate::schema::{Kind, PROJECT, tables};

/// A project: merged, interpolated, in its long form, and consistent. Every value still knows where it was written.
#[derive(Debug)]
pub struct Project {
    /// Its name.
    pub name: String,
    /// Where relative paths start.
    pub folder: Utf8PathBuf,
    /// The files it was made of.
    pub files: Vec<Utf8PathBuf>,
    /// Variables for `${}`, and where each has its value from.
    pub environment: BTreeMap<String, Origin>,
    /// The document, without services whose profiles are not active.
    pub document: Node,
    /// Those services.
    pub inactive: BTreeMap<String, Node>,
    /// What looks like a mistake.
    pub warnings: Vec<Diagnostic>,
}

impl Project {
    /// The entries of a section, by name.
    pub fn section(&self, name: &str) -> Vec<&Entry> {
        let mut entries: Vec<_> = self
            .document
            .get(name)
            .map_or(&[][..], Node::entries)
            .iter()
            .collect();
        entries.sort_by(|one, other| one.key.cmp(&other.key));
        entries
    }

    /// Leaves out all other services, and what only they use.
    pub fn keep_services(&mut self, wanted: &BTreeSet<String>, keeps_resources: bool) {
        if let Some(services) = self.document.get_mut("services").and_then(Node::entries_mut) {
            services.retain(|service| wanted.contains(&service.key));
        }
        if !keeps_resources {
            leave_out_unused(self);
        }
    }

    /// The image of a service: the one it names, or the one it builds.
    pub fn image_of(&self, service: &Entry) -> String {
        match service.value.text_of("image") {
            Some(image) => image.to_owned(),
            None => format!("{}-{}", self.name, service.key),
        }
    }

    /// Profiles that services are in, active or not.
    pub fn profiles(&self) -> Vec<String> {
        let active = self.section("services").into_iter().map(|entry| &entry.value);
        let all = active
            .chain(self.inactive.values())
            .flat_map(|service| service.get("profiles").map_or(&[][..], Node::items));
        let mut names: Vec<String> = all.filter_map(Node::as_text).map(str::to_owned).collect();
        names.sort();
        names.dedup();
        names
    }

    /// The project as `config --format json` of the reference prints it.
    pub fn to_json(&self) -> Json {
        self.rendered(Flavour::Json)
    }

    /// The project as `config` of the reference prints it.
    pub fn to_yaml(&self) -> Json {
        self.rendered(Flavour::Yaml)
    }

    /// The project with everything that its files say.
    pub(crate) fn rendered(&self, flavour: Flavour) -> Json {
        let mut whole = match canonical(&self.document, Kind::Object(PROJECT), flavour) {
            Json::Object(whole) => whole,
            _ => Map::new(),
        };
        whole.shift_remove("name");
        whole.shift_insert(0, "name".to_owned(), Json::from(self.name.as_str()));
        if flavour == Flavour::Json {
            let own = self
                .document
                .entries()
                .iter()
                .filter(|entry| entry.key.starts_with("x-"));
            whole.extend(own.map(|entry| (entry.key.clone(), canonical(&entry.value, Kind::Any, flavour))));
            whole.sort_keys();
        }
        Json::Object(whole)
    }

    /// The fingerprint of a service that a container of it carries as label `com.docker.compose.config-hash`: as the
    /// reference makes it, over all but what changes no container.
    pub fn config_hash(&self, service: &str) -> Option<String> {
        let node = self.document.at(&["services", service])?;
        let mut json = canonical(node, Kind::Object(tables::SERVICE), Flavour::Json);
        let map = json.as_object_mut()?;
        for key in ["build", "pull_policy", "scale", "depends_on", "profiles"] {
            map.shift_remove(key);
        }
        if let Some(deploy) = map.get_mut("deploy").and_then(Json::as_object_mut) {
            deploy.shift_remove("replicas");
        }
        Some(hash(&json))
    }

    /// The fingerprint of a network or volume, as the reference makes it.
    pub fn resource_hash(&self, section: &str, key: &str) -> Option<String> {
        let node = self.document.at(&[section, key])?;
        let table = match section {
            "networks" => tables::NETWORK,
            _ => tables::VOLUME,
        };
        let mut json = canonical(node, Kind::Object(table), Flavour::Json);
        if section == "volumes" && json.get("driver").is_none() {
            let map = json.as_object_mut()?;
            map.shift_insert(1, "driver".to_owned(), Json::from("local"));
        }
        Some(hash(&json))
    }

    /// The value at a path such as `services.web.ports.0`.
    pub fn at(&self, path: &str) -> Option<&Node> {
        let mut node = &self.document;
        let mut rest = path;
        while !rest.is_empty() {
            // Names may have dots themselves: the longest key that fits is meant.
            let fits = |key: &str| {
                rest.strip_prefix(key)
                    .is_some_and(|after| after.is_empty() || after.starts_with('.'))
            };
            let (next, length) = match &node.value {
                Value::Map(entries) => {
                    let entry = entries
                        .iter()
                        .filter(|entry| fits(&entry.key))
                        .max_by_key(|entry| entry.key.len())?;
                    (&entry.value, entry.key.len())
                }
                Value::List(items) => {
                    let number = rest.split('.').next().unwrap_or_default();
                    (items.get(number.parse::<usize>().ok()?)?, number.len())
                }
                Value::Scalar(_) => return None,
            };
            node = next;
            rest = rest[length..].trim_start_matches('.');
        }
        Some(node)
    }
}

/// SHA-256 of JSON as Go writes it.
fn hash(json: &Json) -> String {
    let text = as_go(&json.to_string());
    let digest = Sha256::digest(text);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
