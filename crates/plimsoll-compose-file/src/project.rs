//! What a project comes to.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use plimsoll_diagnostics::Diagnostic;
use serde_json::{Map, Value as Json};

use crate::load::Origin;
use crate::node::{Entry, Node, Value};

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

/// The order of the top level; keys below are in alphabetical order.
const SECTIONS: [&str; 7] = [
    "name", "services", "networks", "volumes", "configs", "secrets", "models",
];

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

    /// The project as `config` prints it.
    pub fn to_json(&self) -> Json {
        let mut whole = Map::new();
        whole.insert("name".to_owned(), Json::from(self.name.as_str()));
        let entries = self.document.entries();
        for section in SECTIONS {
            let found = entries
                .iter()
                .find(|entry| entry.key == section && section != "name");
            if let Some(entry) = found.filter(|entry| !entry.value.is_null()) {
                whole.insert(section.to_owned(), sorted(&entry.value, &[section]));
            }
        }
        for entry in entries.iter().filter(|entry| entry.key.starts_with("x-")) {
            whole.insert(entry.key.clone(), entry.value.to_json());
        }
        let mut whole = Json::Object(whole);
        fill(&mut whole);
        whole
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

/// Keys that the reference prints even where nothing is said, so that its readers find them.
fn fill(whole: &mut Json) {
    let each = |whole: &mut Json, section: &str, work: &dyn Fn(&mut Map<String, Json>)| {
        let entries = whole.get_mut(section).and_then(Json::as_object_mut);
        let values = entries.into_iter().flat_map(|entries| entries.values_mut());
        values.filter_map(Json::as_object_mut).for_each(work);
    };
    let add = |map: &mut Map<String, Json>, keys: [&str; 2], value: Json| {
        for key in keys {
            map.entry(key).or_insert_with(|| value.clone());
        }
        map.sort_keys();
    };
    each(whole, "services", &|service| {
        add(service, ["command", "entrypoint"], Json::Null);
        if let Some(deploy) = service.get_mut("deploy").and_then(Json::as_object_mut) {
            add(deploy, ["placement", "resources"], Json::Object(Map::new()));
        }
    });
    each(whole, "networks", &|network| {
        if !network.contains_key("external") {
            add(network, ["ipam", "ipam"], Json::Object(Map::new()));
        }
    });
}

/// JSON with its keys in order. What has another form in `config` than in the merge gets it here.
fn sorted(node: &Node, path: &[&str]) -> Json {
    match &node.value {
        Value::Map(entries) if path.last() == Some(&"extra_hosts") => {
            let lines = entries.iter().flat_map(|entry| {
                let addresses = entry.value.items().iter().filter_map(Node::as_text);
                addresses.map(|address| Json::from(format!("{}={address}", entry.key)))
            });
            lines.collect()
        }
        Value::Map(entries) => {
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_by(|one, other| one.key.cmp(&other.key));
            let pairs = entries.into_iter().map(|entry| {
                let path: Vec<&str> = path.iter().copied().chain([entry.key.as_str()]).collect();
                (entry.key.clone(), sorted(&entry.value, &path))
            });
            Json::Object(pairs.collect())
        }
        Value::List(items) => items.iter().map(|item| sorted(item, path)).collect(),
        Value::Scalar(_) => node.to_json(),
    }
}
