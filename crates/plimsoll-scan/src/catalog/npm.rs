//! Node's packages: what is below `node_modules`, and what lock files of any version list.

use std::path::Path;

use serde_json::Value;

use crate::package::purl;
use crate::{Kind, Package};

/// A lock file of the first version nests what depends on what; deeper is no project's.
const DEPTH_LIMIT: usize = 64;

/// Tells whether a `package.json` is that of a package, rather than one that comes with it.
pub(super) fn is_installed(path: &Path) -> bool {
    let names = path
        .iter()
        .rev()
        .skip(1)
        .map(|name| name.to_str().unwrap_or_default());
    let names: Vec<&str> = names.take(3).collect();
    match names.as_slice() {
        [_, "node_modules", ..] => true,
        [_, scope, "node_modules"] => scope.starts_with('@'),
        _ => false,
    }
}

pub(super) fn package(path: &Path, text: &str) -> Vec<Package> {
    let Ok(json) = serde_json::from_str::<Value>(text) else {
        return Vec::new();
    };
    let name = json["name"].as_str().unwrap_or_default();
    made(path, name, &json).into_iter().collect()
}

/// `package-lock.json`: a flat list `packages` since version 2, nested `dependencies` before.
pub(super) fn lock(path: &Path, text: &str) -> Vec<Package> {
    let Ok(json) = serde_json::from_str::<Value>(text) else {
        return Vec::new();
    };
    let mut packages = Vec::new();
    match json["packages"].as_object() {
        Some(list) => {
            for (place, entry) in list {
                // A link points to a folder of the project that is listed by itself; nothing before: it is the project.
                let Some((_, name)) = place.rsplit_once("node_modules/") else {
                    continue;
                };
                if entry["link"] != Value::Bool(true) {
                    let name = entry["name"].as_str().unwrap_or(name);
                    packages.extend(made(path, name, entry));
                }
            }
        }
        None => nested(path, &json["dependencies"], DEPTH_LIMIT, &mut packages),
    }
    packages
}

fn nested(path: &Path, dependencies: &Value, depth: usize, packages: &mut Vec<Package>) {
    for (name, entry) in dependencies.as_object().into_iter().flatten() {
        packages.extend(made(path, name, entry));
        if depth > 0 {
            nested(path, &entry["dependencies"], depth - 1, packages);
        }
    }
}

fn made(path: &Path, name: &str, json: &Value) -> Option<Package> {
    let version = json["version"].as_str().filter(|version| !version.is_empty())?;
    let (namespace, bare) = match name.split_once('/') {
        Some((scope, bare)) if scope.starts_with('@') => (Some(scope), bare),
        _ => (None, name),
    };
    if bare.is_empty() {
        return None;
    }
    let licence = json["license"]
        .as_str()
        .or_else(|| json["license"]["type"].as_str());
    Some(Package {
        kind: Kind::Npm,
        name: name.to_owned(),
        version: version.to_owned(),
        purl: purl(Kind::Npm, namespace, bare, version, &[])?,
        source: None,
        licences: licence.map(str::to_owned).into_iter().collect(),
        locations: vec![path.display().to_string()],
    })
}
