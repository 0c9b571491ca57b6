//! What a merged document still needs: profiles, files of variables, defaults, and whether its parts fit together.

mod resources;

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8Path;
use plimsoll_diagnostics::{Diagnostic, Source, nearest};

use crate::dotenv;
use crate::load::LoadOptions;
use crate::load::encoding::text_of;
use crate::node::{Collected, Entry, Node, Place, Value, integer};
use crate::project::Project;

use resources::{check_resources, name_resources};

pub(crate) use resources::leave_out_unused;

/// Finishes a project. What does not fit is added to `found`.
pub(crate) fn finish(
    mut project: Project,
    options: &LoadOptions,
    found: &mut Vec<Diagnostic>,
) -> Option<Project> {
    choose(&mut project, options);
    for at in 0..project.document.get("services")?.entries().len() {
        let entry = &project.document.get("services")?.entries()[at];
        let (name, mut service) = (&entry.key.clone(), entry.value.clone());
        if !options.no_interpolate && !options.forgives_variables {
            add_files(&mut service, ("label_file", "labels"), &project, found);
        }
        if !options.no_env_resolution && !options.no_interpolate {
            add_files(&mut service, ("env_file", "environment"), &project, found);
            take_callers_values(&mut service, &project);
        }
        drop_args(&mut service);
        if !options.no_normalize {
            imply_dependencies(&mut service);
            give_network(&mut service);
            name_dockerfile(&mut service);
        }
        if !options.no_consistency {
            let mut wrong = Vec::new();
            if !options.no_interpolate {
                check_service(name, &service, options.forgives_variables, &mut wrong);
            }
            check_references(name, &service, &project, &mut wrong);
            // What a variable will be cannot be looked at.
            let is_open = options.no_interpolate || options.forgives_variables;
            let is_known = |error: &Diagnostic| {
                let text = error.span().map(|span| error.source.slice(span));
                text.is_some_and(|text| !text.contains('$'))
            };
            found.extend(wrong.into_iter().filter(|error| !is_open || is_known(error)));
            say_scale_twice(&mut service);
        }
        project.document.get_mut("services")?.entries_mut()?[at].value = service;
    }
    if !options.no_consistency {
        check_cycles(&project, found);
    }
    if !options.no_consistency {
        check_resources(&project, found);
    }
    // Services of profiles that exclude each other may well have one name; and who only lists names starts nothing.
    if !options.no_consistency && !options.forgives_variables && !options.no_env_resolution {
        check_names(&project, found);
    }
    if !options.no_normalize {
        name_resources(&mut project, options.all_resources);
    } else if !options.all_resources {
        leave_out_unused(&mut project);
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
    let mut wanted: Vec<(String, Place, bool)> = Vec::new();
    let first_word = |item: &Node| {
        let text = item.as_text().unwrap_or_default();
        text.split(':').next().unwrap_or(text).to_owned()
    };
    for item in service.get("links").map_or(&[][..], Node::items) {
        wanted.push((first_word(item), item.place.clone(), true));
    }
    for key in ["network_mode", "ipc", "pid", "uts", "cgroup"] {
        let Some(node) = service.get(key) else { continue };
        let of = node.as_text().and_then(|text| text.strip_prefix("service:"));
        wanted.extend(of.map(|of| (of.to_owned(), node.place.clone(), true)));
    }
    for item in service.get("volumes_from").map_or(&[][..], Node::items) {
        if first_word(item) != "container" {
            wanted.push((first_word(item), item.place.clone(), false));
        }
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
    for (name, place, restart) in wanted {
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

/// `env_file` under `environment`, `label_file` under `labels`.
fn add_files(service: &mut Node, (files, key): (&str, &str), project: &Project, found: &mut Vec<Diagnostic>) {
    let Some(list) = service.take(files) else { return };
    let mut whole = Collected::new(&list.place);
    for item in list.items() {
        add_file(item, project, &mut whole, found);
    }
    for entry in service.get(key).map_or(&[][..], Node::entries) {
        whole.set(&entry.key, entry.value.clone());
    }
    service.set(key, whole.into_node());
}

/// Names alone in `environment` and among arguments of a build take the caller's values.
fn take_callers_values(service: &mut Node, project: &Project) {
    let lookup = |name: &str| project.environment.get(name).map(|origin| origin.value.clone());
    if let Some(environment) = service.get_mut("environment") {
        take_values(environment, &lookup);
    }
    if let Some(args) = service.get_mut("build").and_then(|build| build.get_mut("args")) {
        take_values(args, &lookup);
    }
}

/// Adds the variables of one file; they see those of the files before it.
fn add_file(item: &Node, project: &Project, whole: &mut Collected, found: &mut Vec<Diagnostic>) {
    let path = item
        .text_of("path")
        .or_else(|| item.as_text())
        .unwrap_or_default();
    let raw = item.text_of("format") == Some("raw");
    let Some(source) = read(&project.folder.join(path), item, found) else {
        return;
    };
    let callers = |name: &str| project.environment.get(name).map(|origin| origin.value.clone());
    match dotenv::parse_after(&source, raw, &callers, whole.texts()) {
        Ok(variables) => {
            found.extend(variables.warnings);
            for variable in variables.list {
                let place = Place {
                    source: source.clone(),
                    span: variable.span,
                };
                if let Some(value) = variable.value.or_else(|| callers(&variable.name)) {
                    whole.set(&variable.name, Node::text(value, &place));
                }
            }
        }
        Err(error) => found.push(*error),
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

/// A service with both says its number in `deploy`, too, as the reference has it.
fn say_scale_twice(service: &mut Node) {
    let Some(scale) = service.get("scale").filter(|scale| !scale.is_null()).cloned() else {
        return;
    };
    let deploy = service.get_mut("deploy");
    if let Some(deploy) = deploy.filter(|deploy| matches!(deploy.value, Value::Map(_))) {
        deploy.set("replicas", scale);
    }
}

/// Arguments of a build that nobody gives a value leave the default of the Dockerfile alone.
fn drop_args(service: &mut Node) {
    let args = service.get_mut("build").and_then(|build| build.get_mut("args"));
    if let Some(entries) = args.and_then(Node::entries_mut) {
        entries.retain(|entry| !entry.value.is_null());
    }
}

fn read(path: &Utf8Path, item: &Node, found: &mut Vec<Diagnostic>) -> Option<Source> {
    match text_of(path) {
        Ok(text) => Some(Source::new(path.as_str(), text)),
        Err(_) if item.get("required").is_some_and(|required| !required.is_true()) => None,
        Err((why, help)) => {
            let message = format!("cannot read the file `{path}`: {why}");
            let help = help.unwrap_or_else(|| match item.value {
                Value::Map(_) => "with `required: false` a file may be missing".to_owned(),
                _ => "paths start at the folder of the file that names them".to_owned(),
            });
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
fn check_service(name: &str, service: &Node, forgives: bool, found: &mut Vec<Diagnostic>) {
    let mut wrong = |node: &Node, message: String, help: &str| {
        found.push(node.place.error("compose-service", message).with_help(help));
    };
    let has = |key: &str| {
        let is_empty = |node: &Node| node.is_null() || node.as_text() == Some("");
        let is_open = |node: &Node| forgives && node.place.had_variables();
        service
            .get(key)
            .is_some_and(|node| !is_empty(node) || is_open(node))
    };
    if !has("image") && !has("build") && !has("provider") {
        wrong(
            service,
            format!("service `{name}` has neither `image` nor `build`"),
            "name the image that it runs, or the folder with its Dockerfile: `build: .`",
        );
    }
    if let Some(node) = service.get("oom_score_adj")
        && node
            .as_text()
            .and_then(integer)
            .is_some_and(|score| !(-1000..=1000).contains(&score))
    {
        let message = format!("service `{name}` has an `oom_score_adj` that is not from -1000 to 1000");
        wrong(
            node,
            message,
            "-1000 is never killed for want of memory, 1000 is killed first",
        );
    }
    let networks = service.get("networks").map_or(&[][..], Node::entries);
    if let (Some(mode), false) = (service.get("network_mode"), networks.is_empty()) {
        wrong(
            mode,
            format!("service `{name}` has both `network_mode` and `networks`"),
            "leave one of them out: with `network_mode` it is on no network of the project",
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
            let long = long.join(".");
            wrong(
                service.get(short).unwrap_or(service),
                format!("`{short}` is {one}, but `{long}` is {other}"),
                "both say the same thing: leave one of them out",
            );
        }
    }
    check_name(name, service, &mut wrong);
    if let (Some(platform), Some(platforms)) = (service.get("platform"), service.at(&["build", "platforms"]))
    {
        let wanted = platform.as_text();
        if !platforms.items().is_empty() && !platforms.items().iter().any(|item| item.as_text() == wanted) {
            let help = format!("add `{}` to it", wanted.unwrap_or_default());
            wrong(platform, "`build.platforms` does not have it".to_owned(), &help);
        }
    }
    check_parts(service, found);
    check_targets(service, found);
}

/// The name of its container.
fn check_name(name: &str, service: &Node, wrong: &mut dyn FnMut(&Node, String, &str)) {
    let Some(fixed) = service.get("container_name") else {
        return;
    };
    let text = fixed.as_text().unwrap_or_default();
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric();
    let is_name = text.len() > 1
        && text.starts_with(|letter: char| letter.is_ascii_alphanumeric())
        && text.bytes().all(|byte| is_letter(byte) || b"_.-".contains(&byte));
    if !is_name && fixed.as_text().is_some() {
        let help =
            "it has letters, digits, `_`, `.` and `-`, at least two, and begins with a letter or digit";
        wrong(fixed, format!("`{text}` is no name of a container"), help);
    }
    let replicas = service
        .at(&["deploy", "replicas"])
        .or_else(|| service.get("scale"));
    let count = replicas
        .and_then(Node::as_text)
        .and_then(|count| count.parse::<u64>().ok());
    if count.is_some_and(|count| count > 1) {
        wrong(
            fixed,
            format!("service `{name}` has several replicas: they cannot have one `container_name`"),
            "leave `container_name` out: then they are numbered",
        );
    }
}

/// Keys without which another one means nothing.
fn check_parts(service: &Node, found: &mut Vec<Diagnostic>) {
    let mut missing = |node: &Node, key: &str, help: &str| {
        if node.get(key).is_none_or(Node::is_null) {
            let message = format!("`{key}` is missing");
            found.push(node.place.error("compose-service", message).with_help(help));
        }
    };
    for hooks in ["post_start", "pre_stop"] {
        for hook in service.get(hooks).map_or(&[][..], Node::items) {
            missing(
                hook,
                "command",
                "a hook is a `command` that runs in the container",
            );
        }
    }
    for watch in service.at(&["develop", "watch"]).map_or(&[][..], Node::items) {
        missing(watch, "path", "name the file or folder to watch");
        missing(
            watch,
            "action",
            "it is one of rebuild, restart, sync, sync+restart, sync+exec",
        );
        if watch
            .text_of("action")
            .is_some_and(|action| action.starts_with("sync"))
        {
            missing(
                watch,
                "target",
                "name the path in the container that files are copied to",
            );
        }
    }
}

/// Two things at one path of the container: `volumes` are known by theirs, so that this is about `tmpfs`.
fn check_targets(service: &Node, found: &mut Vec<Diagnostic>) {
    let mut known: BTreeMap<&str, (&Place, String)> = BTreeMap::new();
    let tmpfs = service.get("tmpfs").map_or(&[][..], Node::items).iter();
    let tmpfs = tmpfs.map(|item| {
        (
            item.as_text().and_then(|text| text.split(':').next()),
            item,
            "tmpfs",
        )
    });
    let mounts = service.get("volumes").map_or(&[][..], Node::items).iter();
    let mounts = mounts.map(|item| (item.text_of("target"), item, "volumes"));
    for (target, item, of) in tmpfs.chain(mounts) {
        let Some(target) = target else { continue };
        let target = target.trim_end_matches('/');
        if let Some((first, of_first)) = known.insert(target, (&item.place, of.to_owned())) {
            let message = format!("`{target}` is mounted twice: in `{of_first}` and in `{of}`");
            let mut error = item.place.error("compose-mount", message);
            if first.source == item.place.source {
                error = error.with_label(first.span, "the first one");
            }
            found.push(error.with_help("leave one of them out"));
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
    let contexts = service.at(&["build", "additional_contexts"]);
    for entry in contexts.map_or(&[][..], Node::entries) {
        let of = entry
            .value
            .as_text()
            .and_then(|text| text.strip_prefix("service:"));
        if let Some(of) = of.filter(|of| !project.inactive.contains_key(*of)) {
            check("service", "services", of, &entry.value.place, found);
        }
    }
    for entry in service.get("depends_on").map_or(&[][..], Node::entries) {
        let required = entry.value.get("required").is_none_or(Node::is_true);
        match project.inactive.get(&entry.key) {
            Some(_) if !required => {}
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

/// Containers of two services with one name.
fn check_names(project: &Project, found: &mut Vec<Diagnostic>) {
    let mut known: BTreeMap<&str, &str> = BTreeMap::new();
    for entry in project.section("services") {
        let Some(fixed) = entry.value.get("container_name") else {
            continue;
        };
        let Some(name) = fixed.as_text().filter(|name| !name.is_empty()) else {
            continue;
        };
        if let Some(other) = known.insert(name, &entry.key) {
            let message = format!(
                "service `{}` has the `container_name` of service `{other}`: `{name}`",
                entry.key
            );
            let error = fixed.place.error("compose-service", message);
            found.push(
                error.with_help("leave it out in one of them: then the name is made of project and service"),
            );
        }
    }
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
            let help = "one of them has to start without waiting for the other";
            found.push(place.error("compose-cycle", message).with_help(help));
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
