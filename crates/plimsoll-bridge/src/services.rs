//! Services: how others reach a service by its name, and how the outside does.

use plimsoll_compose_file::model::Service;
use serde_json::{Value, json};

use crate::app::{App, SERVICE};
use crate::manifest::{Manifest, object};
use crate::workload::{self, Workload};
use crate::{names, ports};

/// The Services of one service of the project.
pub(crate) fn of(app: &App<'_>, name: &str, service: &Service) -> Vec<Manifest> {
    let listening = ports::listening(app, name, service);
    let is_job = workload::kind(app, name, service) == Workload::Job;
    let is_reachable = service.network_mode.as_deref() != Some("none");
    let mut all = Vec::new();
    if is_reachable && !(is_job && listening.is_empty()) {
        let made = names::service(name);
        all.push(inner(app, name, service, &made, format!("{name}-expose.yaml")));
        for alias in aliases(app, name, service) {
            let file = format!("{name}-{alias}-alias.yaml");
            all.push(inner(app, name, service, &alias, file));
        }
    }
    all.extend(published(app, name, service));
    all
}

/// A name inside the cluster. Where no port is known it leads to the pods themselves, and so to every port.
fn inner(app: &App<'_>, name: &str, service: &Service, made: &str, file: String) -> Manifest {
    let ports: Vec<Value> = ports::listening(app, name, service)
        .iter()
        .map(ports::Listening::served)
        .collect();
    let is_direct = service
        .deploy
        .as_ref()
        .is_some_and(|deploy| deploy.endpoint_mode.as_deref() == Some("dnsrr"));
    let mut spec = json!({ "selector": app.selector(name) });
    if ports.is_empty() || is_direct {
        spec["clusterIP"] = json!("None");
    }
    if !ports.is_empty() {
        spec["ports"] = json!(ports);
    }
    manifest(app, name, made, file, spec)
}

/// Published ports, for the outside.
fn published(app: &App<'_>, name: &str, service: &Service) -> Option<Manifest> {
    let ports: Vec<Value> = ports::published(app, name, service)
        .iter()
        .map(ports::Published::served)
        .collect();
    if ports.is_empty() {
        return None;
    }
    let spec = json!({ "type": "LoadBalancer", "selector": app.selector(name), "ports": ports });
    let made = names::service(&format!("{name}-published"));
    Some(manifest(app, name, &made, format!("{name}-service.yaml"), spec))
}

fn manifest(app: &App<'_>, name: &str, made: &str, file: String, spec: Value) -> Manifest {
    let mut value = object("v1", "Service", app.metadata(made, &[(SERVICE, name)]));
    value.insert("spec".to_owned(), spec);
    Manifest {
        file,
        service: Some(name.to_owned()),
        value: Value::Object(value),
    }
}

/// Other names of a service: aliases on networks, `container_name`, and what others link to it as.
fn aliases(app: &App<'_>, name: &str, service: &Service) -> Vec<String> {
    let mut wanted: Vec<(Vec<&str>, String)> = Vec::new();
    for (network, place) in &service.networks {
        for alias in place.iter().flat_map(|place| &place.aliases) {
            wanted.push((
                vec!["services", name, "networks", network, "aliases"],
                alias.clone(),
            ));
        }
    }
    if let Some(own) = &service.container_name {
        wanted.push((vec!["services", name, "container_name"], own.clone()));
    }
    for (other, linking) in &app.model.services {
        for link in &linking.links {
            if let Some((_, alias)) = link.split_once(':').filter(|(to, _)| *to == name) {
                wanted.push((vec!["services", other, "links"], alias.to_owned()));
            }
        }
    }
    let own = names::service(name);
    let mut all: Vec<String> = Vec::new();
    for (path, alias) in wanted {
        let made = names::service(&alias);
        let is_taken = app
            .model
            .services
            .keys()
            .any(|other| other != name && names::service(other) == made);
        if made != alias.to_lowercase() || is_taken {
            app.notes.warn(
                &path,
                format!(
                    "`{alias}` cannot be another name of `{name}` in Kubernetes: {}",
                    why(is_taken)
                ),
            );
        } else if made != own && !all.contains(&made) {
            all.push(made);
        }
    }
    all
}

fn why(is_taken: bool) -> &'static str {
    match is_taken {
        true => "a service is called so",
        false => "it is no DNS label",
    }
}
