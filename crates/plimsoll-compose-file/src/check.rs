//! What a merged document still needs: profiles, files of variables, defaults, and whether its parts fit together.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use camino::Utf8Path;
use plimsoll_diagnostics::{Diagnostic, Source, nearest};

use crate::dotenv;
use crate::load::LoadOptions;
use crate::node::{Entry, Node, Place, Value};
use crate::project::Project;

/// Finishes a project. What does not fit is added to `found`.
pub(crate) fn finish(
    mut project: Project,
    options: &LoadOptions,
    found: &mut Vec<Diagnostic>,
) -> Option<Project> {
    choose(&mut project, options);
    let names: Vec<String> = project
        .section("services")
        .iter()
        .map(|entry| entry.key.clone())
        .collect();
    for name in &names {
        let mut service = project.document.at(&["services", name])?.clone();
        if !options.no_env_resolution {
            add_files(&mut service, &project, found);
        }
        if !options.no_normalize {
            imply_dependencies(&mut service);
            give_network(&mut service);
            name_dockerfile(&mut service);
        }
        if !options.no_consistency {
            check_service(name, &service, found);
            check_references(name, &service, &project, found);
        }
        project.document.get_mut("services")?.set(name, service);
    }
    if !options.no_consistency {
        check_cycles(&project, found);
    }
    if !options.no_normalize {
        name_resources(&mut project, options.all_resources, found);
    }
    Some(project)
}

/// Takes out the services whose profiles are not active.
fn choose(project: &mut Project, options: &LoadOptions) {
    let Some(services) = project.document.get_mut("services").and_then(Node::entries_mut) else {
        return;
    };
    let profiles = |entry: &Entry| -> Vec<String> {
        let items = entry.value.get("profiles").map_or(&[][..], Node::items);
        items
            .iter()
            .filter_map(Node::as_text)
            .map(str::to_owned)
            .collect()
    };
    let named = services.iter().filter(|entry| options.named.contains(&entry.key));
    let mut active: BTreeSet<String> = named.flat_map(profiles).collect();
    active.extend(options.profiles.iter().cloned());
    let (on, off) = std::mem::take(services).into_iter().partition(|entry| {
        let profiles = profiles(entry);
        profiles.is_empty() || active.contains("*") || profiles.iter().any(|profile| active.contains(profile))
    });
    *services = on;
    let off: Vec<Entry> = off;
    project.inactive = off.into_iter().map(|entry| (entry.key, entry.value)).collect();
}

/// `links`, `volumes_from` and the namespaces of other services wait for these.
fn imply_dependencies(service: &mut Node) {
    let place = service.place.clone();
    // What is lost when the other service is replaced: `true`.
    let mut wanted: Vec<(String, bool)> = Vec::new();
    let texts = |key: &str| {
        service
            .get(key)
            .map_or(&[][..], Node::items)
            .iter()
            .filter_map(Node::as_text)
    };
    let before_colon = |text: &str| text.split(':').next().unwrap_or(text).to_owned();
    wanted.extend(texts("links").map(|link| (before_colon(link), true)));
    let from = texts("volumes_from").filter(|from| !from.starts_with("container:"));
    wanted.extend(from.map(|from| (before_colon(from), false)));
    for key in ["network_mode", "ipc", "pid", "uts", "cgroup"] {
        let of = service
            .text_of(key)
            .and_then(|text| text.strip_prefix("service:"));
        wanted.extend(of.map(|of| (of.to_owned(), true)));
    }
    if wanted.is_empty() {
        return;
    }
    if service.get("depends_on").is_none() {
        service.set("depends_on", Node::map(&place));
    }
    let Some(dependencies) = service.get_mut("depends_on") else {
        return;
    };
    for (name, restart) in wanted {
        if dependencies.get(&name).is_none() {
            let mut long = Node::map(&place);
            long.set("condition", Node::text("service_started", &place));
            if restart {
                long.set("restart", Node::plain("true", &place));
            }
            long.set("required", Node::plain("true", &place));
            dependencies.set(&name, long);
        }
    }
}

/// `env_file` under `environment`, `label_file` under `labels`; names alone take the caller's value.
fn add_files(service: &mut Node, project: &Project, found: &mut Vec<Diagnostic>) {
    let lookup = |name: &str| project.environment.get(name).map(|origin| origin.value.clone());
    for (files, key) in [("env_file", "environment"), ("label_file", "labels")] {
        let Some(list) = service.take(files) else { continue };
        let mut whole = Node::map(&list.place);
        for item in list.items() {
            let path = item
                .text_of("path")
                .or_else(|| item.as_text())
                .unwrap_or_default();
            let path = project.folder.join(path);
            let raw = item.text_of("format") == Some("raw");
            let Some(source) = read(&path, item, found) else {
                continue;
            };
            match dotenv::parse(&source, raw, &lookup) {
                Ok(variables) => {
                    found.extend(variables.warnings);
                    for variable in variables.list {
                        let place = Place {
                            source: source.clone(),
                            span: variable.span,
                        };
                        let value = variable.value.or_else(|| lookup(&variable.name));
                        if let Some(value) = value {
                            whole.set(&variable.name, Node::text(value, &place));
                        }
                    }
                }
                Err(error) => found.push(*error),
            }
        }
        for entry in service.get(key).map_or(&[][..], Node::entries) {
            whole.set(&entry.key, entry.value.clone());
        }
        service.set(key, whole);
    }
    if let Some(environment) = service.get_mut("environment") {
        take_values(environment, &lookup);
    }
    if let Some(args) = service.get_mut("build").and_then(|build| build.get_mut("args")) {
        take_values(args, &lookup);
    }
}

/// Names alone take the caller's value.
fn take_values(pairs: &mut Node, lookup: &dyn Fn(&str) -> Option<String>) {
    for entry in pairs.entries_mut().into_iter().flatten() {
        if let (true, Some(value)) = (entry.value.is_null(), lookup(&entry.key)) {
            entry.value = Node::text(value, &entry.value.place);
        }
    }
}

fn read(path: &Utf8Path, item: &Node, found: &mut Vec<Diagnostic>) -> Option<Source> {
    match fs::read_to_string(path) {
        Ok(text) => Some(Source::new(path.as_str(), text)),
        Err(_) if item.get("required").is_some_and(|required| !required.is_true()) => None,
        Err(error) => {
            let message = format!("cannot read the file `{path}`: {error}");
            let help = "with `required: false` a file may be missing";
            found.push(item.place.error("compose-file", message).with_help(help));
            None
        }
    }
}

/// A service that says nothing is on the network `default`.
fn give_network(service: &mut Node) {
    let none = service
        .get("networks")
        .is_none_or(|networks| networks.entries().is_empty());
    if none && service.get("network_mode").is_none() && service.get("provider").is_none() {
        let place = service.place.clone();
        let mut networks = Node::map(&place);
        networks.set("default", Node::plain("", &place));
        service.set("networks", networks);
    }
}

/// A build that does not say has a `Dockerfile`.
fn name_dockerfile(service: &mut Node) {
    let Some(build) = service.get_mut("build") else {
        return;
    };
    if build.get("dockerfile").is_none() && build.get("dockerfile_inline").is_none() {
        let place = build.place.clone();
        build.set("dockerfile", Node::text("Dockerfile", &place));
    }
}

/// What one service says against itself.
fn check_service(name: &str, service: &Node, found: &mut Vec<Diagnostic>) {
    let mut wrong = |node: &Node, message: String| found.push(node.place.error("compose-service", message));
    let has = |key: &str| service.get(key).is_some_and(|node| !node.is_null());
    if !has("image") && !has("build") && !has("provider") {
        wrong(
            service,
            format!("service `{name}` has neither `image` nor `build`"),
        );
    }
    if let (Some(mode), true) = (
        service.get("network_mode"),
        service
            .get("networks")
            .is_some_and(|networks| !networks.entries().is_empty()),
    ) {
        wrong(
            mode,
            format!("service `{name}` has both `network_mode` and `networks`"),
        );
    }
    let number = |path: &[&str]| service.at(path).and_then(Node::as_text).map(str::to_owned);
    for (short, long) in [
        ("scale", &["deploy", "replicas"][..]),
        ("mem_limit", &["deploy", "resources", "limits", "memory"]),
        (
            "mem_reservation",
            &["deploy", "resources", "reservations", "memory"],
        ),
        ("cpus", &["deploy", "resources", "limits", "cpus"]),
        ("pids_limit", &["deploy", "resources", "limits", "pids"]),
    ] {
        if let (Some(one), Some(other)) = (number(&[short]), number(long))
            && one != other
        {
            let node = service.get(short).unwrap_or(service);
            wrong(
                node,
                format!("`{short}` is {one}, but `{}` is {other}", long.join(".")),
            );
        }
    }
    let replicas = number(&["deploy", "replicas"]).or_else(|| number(&["scale"]));
    if let Some(fixed) = service.get("container_name")
        && replicas
            .and_then(|count| count.parse::<u64>().ok())
            .is_some_and(|count| count > 1)
    {
        wrong(
            fixed,
            format!("service `{name}` has several replicas: they cannot have one `container_name`"),
        );
    }
    if let (Some(platform), Some(platforms)) = (service.get("platform"), service.at(&["build", "platforms"]))
    {
        let wanted = platform.as_text();
        if !platforms.items().is_empty() && !platforms.items().iter().any(|item| item.as_text() == wanted) {
            wrong(platform, "`build.platforms` does not have it".to_owned());
        }
    }
}

/// Whether what a service names is there.
fn check_references(name: &str, service: &Node, project: &Project, found: &mut Vec<Diagnostic>) {
    let check = |kind, section, wanted: &str, place: &Place, found: &mut Vec<Diagnostic>| {
        found.extend(missing(name, (kind, section), wanted, place, project));
    };
    for entry in service.get("networks").map_or(&[][..], Node::entries) {
        check("network", "networks", &entry.key, &entry.place, found);
    }
    for mount in service.get("volumes").map_or(&[][..], Node::items) {
        if let (Some("volume"), Some(source)) = (mount.text_of("type"), mount.text_of("source")) {
            check("volume", "volumes", source, &mount.place, found);
        }
    }
    let of_build = service.at(&["build", "secrets"]);
    for (kind, section, list) in [
        ("secret", "secrets", service.get("secrets")),
        ("config", "configs", service.get("configs")),
        ("secret", "secrets", of_build),
    ] {
        for item in list.map_or(&[][..], Node::items) {
            check(
                kind,
                section,
                item.text_of("source").unwrap_or_default(),
                &item.place,
                found,
            );
        }
    }
    for entry in service.get("depends_on").map_or(&[][..], Node::entries) {
        let required = entry.value.get("required").is_none_or(Node::is_true);
        if !required {
            continue;
        }
        match project.inactive.get(&entry.key) {
            None => check("service", "services", &entry.key, &entry.place, found),
            Some(inactive) => {
                let profiles = inactive.get("profiles").map_or(&[][..], Node::items);
                let profile = profiles.first().and_then(Node::as_text).unwrap_or_default();
                let message = format!(
                    "service `{name}` depends on `{}`, whose profile `{profile}` is not active",
                    entry.key
                );
                let help = format!("activate it with `--profile {profile}`, or say `required: false`");
                found.push(entry.place.error("compose-reference", message).with_help(help));
            }
        }
    }
}

/// What is wrong when a service names something that is not there.
fn missing(
    service: &str,
    (kind, section): (&str, &str),
    wanted: &str,
    place: &Place,
    project: &Project,
) -> Option<Diagnostic> {
    let known = project.document.get(section).map_or(&[][..], Node::entries);
    let there =
        known.iter().any(|entry| entry.key == wanted) || (section == "networks" && wanted == "default");
    if there {
        return None;
    }
    let message = format!("service `{service}` names the {kind} `{wanted}`, which is not defined");
    let near = nearest(wanted, known.iter().map(|entry| entry.key.as_str()));
    let help = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("define it under the top-level `{section}:`"),
    };
    Some(place.error("compose-reference", message).with_help(help))
}

/// Services that wait for each other.
fn check_cycles(project: &Project, found: &mut Vec<Diagnostic>) {
    let mut done = BTreeSet::new();
    for entry in project.section("services") {
        if let Some(cycle) = cycle(project, &entry.key, &mut Vec::new(), &mut done) {
            let message = format!("dependency cycle: {}", cycle.join(" -> "));
            let place = project
                .document
                .at(&["services", &cycle[0], "depends_on"])
                .map_or(&entry.place, |node| &node.place);
            found.push(place.error("compose-cycle", message));
            return;
        }
    }
}

fn cycle(
    project: &Project,
    name: &str,
    path: &mut Vec<String>,
    done: &mut BTreeSet<String>,
) -> Option<Vec<String>> {
    if let Some(at) = path.iter().position(|known| known == name) {
        return Some(path[at..].iter().cloned().chain([name.to_owned()]).collect());
    }
    if !done.insert(name.to_owned()) {
        return None;
    }
    path.push(name.to_owned());
    let dependencies = project
        .document
        .at(&["services", name, "depends_on"])
        .map_or(&[][..], Node::entries);
    let found = dependencies.iter().find_map(|entry| {
        // Done is only what is done: what is on the path is looked at again.
        if path.contains(&entry.key) {
            done.remove(&entry.key);
        }
        cycle(project, &entry.key, path, done)
    });
    path.pop();
    found
}

/// Gives networks, volumes, secrets and configs their full names, adds `default`, and leaves out what nobody uses.
fn name_resources(project: &mut Project, keeps_all: bool, found: &mut Vec<Diagnostic>) {
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
            name_resource(&name, section, entry, found);
        }
        if entries.is_empty() {
            project.document.take(section);
        }
    }
}

fn name_resource(project: &str, section: &str, entry: &mut Entry, found: &mut Vec<Diagnostic>) {
    let place = entry.value.place.clone();
    let external = entry.value.get("external").cloned();
    let of_external = external
        .as_ref()
        .and_then(|node| node.text_of("name"))
        .map(str::to_owned);
    let is_external = external
        .as_ref()
        .is_some_and(|node| node.is_true() || matches!(node.value, Value::Map(_)));
    if is_external {
        let others = [
            "driver",
            "driver_opts",
            "ipam",
            "internal",
            "file",
            "environment",
            "content",
        ];
        if let Some(other) = others.iter().find_map(|key| entry.value.entry(key)) {
            let message = format!(
                "`{section}.{}` is external: it cannot have `{}` as well",
                entry.key, other.key
            );
            found.push(match section {
                // The reference takes it, without effect.
                "networks" => other.place.warning("compose-external", message),
                _ => other.place.error("compose-external", message),
            });
        }
        let name = of_external
            .or_else(|| entry.value.text_of("name").map(str::to_owned))
            .unwrap_or_else(|| entry.key.clone());
        entry.value.set("name", Node::text(name, &place));
        entry.value.set("external", Node::plain("true", &place));
        return;
    }
    if entry.value.get("name").is_none_or(Node::is_null) {
        entry
            .value
            .set("name", Node::text(format!("{project}_{}", entry.key), &place));
    }
    let sources: &[&str] = match section {
        "secrets" => &["file", "environment", "driver"],
        "configs" => &["file", "environment", "content"],
        _ => return,
    };
    let given = sources
        .iter()
        .filter(|key| entry.value.get(key).is_some())
        .count();
    if given != 1 {
        let what = sources
            .iter()
            .map(|key| format!("`{key}`"))
            .collect::<Vec<_>>()
            .join(", ");
        let message = format!(
            "`{section}.{}` needs one of {what}, or `external: true`; it has {given}",
            entry.key
        );
        found.push(entry.place.error("compose-source", message));
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
