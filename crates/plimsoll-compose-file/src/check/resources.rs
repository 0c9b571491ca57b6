//! Networks, volumes, secrets and configs: their names, and what they say against themselves.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_diagnostics::Diagnostic;

use crate::node::{Entry, Node, Value};
use crate::project::Project;

/// Gives networks, volumes, secrets and configs their full names, adds `default`, and leaves out what nobody uses.
pub(super) fn name_resources(project: &mut Project, keeps_all: bool) {
    let used = used(project);
    let place = project.document.place.clone();
    if used["networks"].contains("default") && project.document.at(&["networks", "default"]).is_none() {
        if project.document.get("networks").is_none() {
            project.document.set("networks", Node::map(&place));
        }
        if let Some(networks) = project.document.get_mut("networks") {
            networks.set("default", Node::map(&place));
        }
    }
    for section in ["networks", "volumes", "secrets", "configs"] {
        let name = project.name.clone();
        let Some(entries) = project.document.get_mut(section).and_then(Node::entries_mut) else {
            continue;
        };
        entries.retain(|entry| keeps_all || used[section].contains(&entry.key));
        for entry in entries.iter_mut() {
            if entry.value.is_null() {
                entry.value = Node::map(&entry.value.place.clone());
            }
            name_resource(&name, entry);
        }
        if entries.is_empty() {
            project.document.take(section);
        }
    }
}

fn name_resource(project: &str, entry: &mut Entry) {
    let place = entry.value.place.clone();
    if is_external(&entry.value) {
        let given = entry.value.at(&["external", "name"]).or(entry.value.get("name"));
        let name = given.and_then(Node::as_text).unwrap_or(&entry.key).to_owned();
        entry.value.set("name", Node::text(name, &place));
        entry.value.set("external", Node::plain("true", &place));
    } else if entry.value.get("name").is_none_or(Node::is_null) {
        let name = format!("{project}_{}", entry.key);
        entry.value.set("name", Node::text(name, &place));
    }
}

fn is_external(resource: &Node) -> bool {
    let external = resource.get("external");
    external.is_some_and(|node| node.is_true() || matches!(node.value, Value::Map(_)))
}

/// What networks, volumes, secrets and configs say against themselves, used or not.
pub(super) fn check_resources(project: &Project, found: &mut Vec<Diagnostic>) {
    for section in ["networks", "volumes", "secrets", "configs"] {
        for entry in project.document.get(section).map_or(&[][..], Node::entries) {
            match is_external(&entry.value) {
                true => check_external(section, entry, found),
                false => check_source(section, entry, found),
            }
        }
    }
}

/// What is not of this project is only named.
fn check_external(section: &str, entry: &Entry, found: &mut Vec<Diagnostic>) {
    if let Some(old) = entry.value.at(&["external", "name"]) {
        let of = format!("{section}.{}", entry.key);
        let warning = old
            .place
            .warning("compose-external", format!("`{of}.external.name` is deprecated"));
        let name = old.as_text().unwrap_or_default();
        found.push(warning.with_help(format!("write `name: {name}` and `external: true`")));
        if let Some(new) = entry
            .value
            .get("name")
            .filter(|new| new.as_text() != old.as_text())
        {
            let message = format!("`{of}` has both `name` and `external.name`");
            let error = new.place.error("compose-external", message);
            found.push(error.with_help("leave `external.name` out, and write `external: true`"));
        }
    }
    let is_own =
        |other: &&Entry| !matches!(other.key.as_str(), "external" | "name") && !other.key.starts_with("x-");
    let Some(other) = entry.value.entries().iter().find(is_own) else {
        return;
    };
    let message = format!(
        "`{section}.{}` is external: it cannot have `{}` as well",
        entry.key, other.key
    );
    let found_here = match section {
        "volumes" => other.place.error("compose-external", message),
        // The reference takes it, without effect.
        _ => other.place.warning("compose-external", message),
    };
    found.push(found_here.with_help("leave it out, or `external`"));
}

/// The content of a secret or config comes from one place.
fn check_source(section: &str, entry: &Entry, found: &mut Vec<Diagnostic>) {
    let sources: &[&str] = match section {
        "secrets" => &["file", "environment", "driver"],
        "configs" => &["file", "environment", "content"],
        _ => return,
    };
    let given: Vec<&Entry> = sources.iter().filter_map(|key| entry.value.entry(key)).collect();
    let what: Vec<String> = sources.iter().map(|key| format!("`{key}`")).collect();
    let what = what.join(", ");
    let of = format!("`{section}.{}`", entry.key);
    found.push(match given[..] {
        [_] => return,
        [] => entry
            .place
            .error(
                "compose-source",
                format!("{of} needs one of {what}, or `external: true`"),
            )
            .with_help("with `file: PATH` it is read from there"),
        [first, second, ..] => {
            let message = format!("{of} has both `{}` and `{}`", first.key, second.key);
            let mut error = second.place.error("compose-source", message);
            error = match first.place.source == second.place.source {
                true => error.with_label(first.place.span, "the other one"),
                false => error,
            };
            let other = first.place.source.position(first.place.span.start);
            error.with_help(format!(
                "leave out `{}` ({}:{}:{}), or put `!override` before the value that replaces it",
                first.key, first.place.source.name, other.line, other.column
            ))
        }
    });
}

/// Leaves out the resources that no service uses.
pub(crate) fn leave_out_unused(project: &mut Project) {
    let used = used(project);
    for (section, used) in used {
        let entries = project.document.get_mut(section).and_then(Node::entries_mut);
        let Some(entries) = entries else { continue };
        entries.retain(|entry| used.contains(&entry.key));
        if entries.is_empty() {
            project.document.take(section);
        }
    }
}

/// What services name, by section.
fn used(project: &Project) -> BTreeMap<&'static str, BTreeSet<String>> {
    let mut used: BTreeMap<&'static str, BTreeSet<String>> = BTreeMap::new();
    for section in ["networks", "volumes", "secrets", "configs"] {
        used.insert(section, BTreeSet::new());
    }
    let mut add = |section: &'static str, name: &str| {
        used.entry(section).or_default().insert(name.to_owned());
    };
    for entry in project.section("services") {
        let service = &entry.value;
        for network in service.get("networks").map_or(&[][..], Node::entries) {
            add("networks", &network.key);
        }
        for mount in service.get("volumes").map_or(&[][..], Node::items) {
            if mount.text_of("type") == Some("volume") {
                add("volumes", mount.text_of("source").unwrap_or_default());
            }
        }
        for (section, path) in [
            ("secrets", &["secrets"][..]),
            ("configs", &["configs"]),
            ("secrets", &["build", "secrets"]),
        ] {
            for item in service.at(path).map_or(&[][..], Node::items) {
                add(section, item.text_of("source").unwrap_or_default());
            }
        }
    }
    used
}
