//! Network policies: services reach each other only over a network that both are on.
//!
//! Policies add up, so a pod on two networks is reached from both. A network that is internal has no way out: that holds
//! for pods that are on such networks only.

use plimsoll_compose_file::model::Service;
use serde_json::{Value, json};

use crate::app::{App, SERVICE, network_label};
use crate::manifest::{Fields, Manifest, object};
use crate::{names, ports, waits};

/// The policies of the networks of the project.
pub(crate) fn of_networks(app: &App<'_>) -> Vec<Manifest> {
    let mut all = Vec::new();
    for (key, network) in &app.model.networks {
        note(app, key);
        let label = network_label(key);
        let peers = json!([{ "podSelector": { "matchLabels": { label.as_str(): "true" } } }]);
        let spec = json!({
            "podSelector": { "matchLabels": { label.as_str(): "true" } },
            "policyTypes": ["Ingress"],
            "ingress": [{ "from": peers }],
        });
        all.push(policy(app, key, spec, None));
        if network.internal {
            let spec = json!({
                "podSelector": shut_in(app, &[label.as_str()]),
                "policyTypes": ["Egress"],
                "egress": [{ "to": peers }, name_server()],
            });
            all.push(policy(app, &format!("{key}-internal"), spec, None));
        }
    }
    all.extend(for_waiting(app));
    all
}

/// The policies that one service needs.
pub(crate) fn of_service(app: &App<'_>, name: &str, service: &Service) -> Vec<Manifest> {
    let mut all = Vec::new();
    let selector = json!({ "matchLabels": app.selector(name) });
    let ports = outside(service);
    if !ports.is_empty() {
        let spec =
            json!({ "podSelector": selector, "policyTypes": ["Ingress"], "ingress": [{ "ports": ports }] });
        all.push(policy(app, &format!("{name}-published"), spec, Some(name)));
    }
    if service.network_mode.as_deref() == Some("none") {
        let spec = json!({ "podSelector": selector, "policyTypes": ["Ingress", "Egress"] });
        all.push(policy(app, &format!("{name}-isolated"), spec, Some(name)));
    }
    all
}

/// Ports that anybody may reach.
fn outside(service: &Service) -> Vec<Value> {
    let mut ports: Vec<ports::Listening> = ports::reachable(service).collect();
    ports.sort();
    ports.dedup();
    ports
        .iter()
        .map(|port| json!({ "protocol": port.protocol, "port": port.port }))
        .collect()
}

/// Selects pods that have these labels and are on no network with a way out.
fn shut_in(app: &App<'_>, labels: &[&str]) -> Value {
    let open = app.model.networks.iter().filter(|(_, network)| !network.internal);
    let not_there: Vec<Value> = open
        .map(|(key, _)| json!({ "key": network_label(key), "operator": "DoesNotExist" }))
        .collect();
    let mut selector = Fields::new();
    selector
        .set(
            "matchLabels",
            crate::manifest::pairs(labels.iter().map(|label| (*label, "true"))),
        )
        .set("matchExpressions", not_there);
    selector.into()
}

/// The cluster's, wherever it answers.
fn name_server() -> Value {
    json!({
        "to": [
            { "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "kube-system" } } },
            // NodeLocal DNSCache has this address on every node.
            { "ipBlock": { "cidr": "169.254.20.10/32" } },
        ],
        "ports": [{ "protocol": "UDP", "port": 53 }, { "protocol": "TCP", "port": 53 }],
    })
}

/// Who waits for others asks the cluster's API.
fn for_waiting(app: &App<'_>) -> Option<Manifest> {
    let internal = |key: &String| {
        app.model
            .networks
            .get(key)
            .is_some_and(|network| network.internal)
    };
    let is_shut_in =
        |service: &Service| !service.networks.is_empty() && service.networks.keys().all(internal);
    let mut services = app.model.services.iter();
    let (name, _) = services.find(|(_, service)| is_shut_in(service) && waits::is_waiting(app, service))?;
    app.notes.warn(
        &["services", name, "depends_on"],
        "to wait for others, pods on internal networks may reach ports 443 and 6443, where the cluster's API answers",
    );
    let spec = json!({
        "podSelector": shut_in(app, &[waits::LABEL]),
        "policyTypes": ["Egress"],
        "egress": waits::way_to_api(),
    });
    Some(policy(app, waits::ACCOUNT, spec, None))
}

fn policy(app: &App<'_>, name: &str, spec: Value, service: Option<&str>) -> Manifest {
    let made = names::label(&format!("{name}-network-policy"));
    let labels: Vec<(&str, &str)> = service.map(|service| (SERVICE, service)).into_iter().collect();
    let mut value = object(
        "networking.k8s.io/v1",
        "NetworkPolicy",
        app.metadata(&made, &labels),
    );
    value.insert("spec".to_owned(), spec);
    Manifest {
        file: format!("{name}-network-policy.yaml"),
        service: service.map(str::to_owned),
        value: Value::Object(value),
    }
}

/// What a network of a cluster has not.
fn note(app: &App<'_>, key: &str) {
    let Some(network) = app.model.networks.get(key) else {
        return;
    };
    let driver = network.driver.as_deref().unwrap_or("bridge");
    let said = [
        ("driver", !matches!(driver, "" | "bridge" | "overlay" | "default")),
        ("driver_opts", !network.driver_opts.is_empty()),
        ("ipam", !network.ipam.config.is_empty()),
        ("enable_ipv4", network.enable_ipv4 == Some(false)),
        ("enable_ipv6", network.enable_ipv6 == Some(true)),
        ("external", network.external),
    ];
    for (what, _) in said.into_iter().filter(|(_, said)| *said) {
        let path = ["networks", key, what];
        app.notes.warn(
            &path,
            format!(
                "`{what}` of a network has no meaning in Kubernetes: all pods are on the cluster's network"
            ),
        );
    }
    for (name, service) in &app.model.services {
        let Some(place) = service.networks.get(key).and_then(Option::as_ref) else {
            continue;
        };
        let said = [
            ("ipv4_address", place.ipv4_address.is_some()),
            ("ipv6_address", place.ipv6_address.is_some()),
            ("link_local_ips", !place.link_local_ips.is_empty()),
            ("mac_address", place.mac_address.is_some()),
            ("interface_name", place.interface_name.is_some()),
            ("driver_opts", !place.driver_opts.is_empty()),
            ("priority", place.priority.is_some()),
            ("gw_priority", place.gw_priority.is_some()),
        ];
        for (what, _) in said.into_iter().filter(|(_, said)| *said) {
            let path = ["services", name, "networks", key, what];
            app.notes.warn(
                &path,
                format!("`{what}` has no meaning in Kubernetes: the cluster gives addresses"),
            );
        }
    }
}
