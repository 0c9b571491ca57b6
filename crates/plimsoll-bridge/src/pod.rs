//! The pod of a service.

use plimsoll_compose_file::model::Service;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::app::{App, PROJECT, SERVICE, network_label};
use crate::check::seconds;
use crate::manifest::{self, Fields, pairs};
use crate::volumes::Mounts;
use crate::{container, content, names, security, waits};

/// How long a program has to end by itself; Kubernetes would give it 30.
const GRACE: u64 = 10;

/// The annotation with the fingerprint of the configs of a pod.
const CONFIGS: &str = "plimsoll.configs";

/// The template of the pods of a service. `restart` is nothing where there is no choice.
pub(crate) fn template(
    app: &App<'_>,
    name: &str,
    service: &Service,
    mounts: &Mounts,
    restart: Option<&str>,
) -> Value {
    let mut before = waits::of(app, name, service);
    let is_waiting = !before.is_empty();
    before.extend(container::before(app, name, service, mounts));
    let mut volumes = mounts.volumes.clone();
    if is_waiting {
        volumes.push(waits::token());
    }
    let has_volumes = !mounts.mounts.is_empty();
    let mut spec = Fields::new();
    spec.set("restartPolicy", restart.map(str::to_owned))
        .set(
            "terminationGracePeriodSeconds",
            service
                .stop_grace_period
                .map_or(GRACE, |time| if time.is_zero() { 0 } else { seconds(time) }),
        )
        // Compose gives neither variables about other services nor the rights of a service account.
        .set("enableServiceLinks", false)
        .set("serviceAccountName", is_waiting.then_some(waits::ACCOUNT))
        .set("automountServiceAccountToken", false);
    namespaces(app, name, service, &mut spec);
    spec.set("hostname", hostname(app, name, service))
        .set("hostAliases", host_aliases(app, name, service))
        .set("dnsConfig", dns(service))
        .set(
            "runtimeClassName",
            service
                .runtime
                .clone()
                .filter(|runtime| runtime != "runc")
                .map(|runtime| names::label(&runtime)),
        )
        .set("nodeSelector", node_selector(app, name, service))
        .set(
            "securityContext",
            security::of_pod(app, name, service, has_volumes),
        )
        .set("initContainers", before)
        .set(
            "containers",
            json!([container::of_service(app, name, service, mounts)]),
        )
        .set("volumes", volumes);
    json!({ "metadata": Value::from(metadata(app, name, service, is_waiting)), "spec": Value::from(spec) })
}

fn metadata(app: &App<'_>, name: &str, service: &Service, is_waiting: bool) -> Fields {
    let mut labels = vec![
        (PROJECT.to_owned(), names::word(&app.project.name, 63)),
        (SERVICE.to_owned(), names::word(name, 63)),
    ];
    labels.extend(
        service
            .networks
            .keys()
            .map(|network| (network_label(network), "true".to_owned())),
    );
    if is_waiting {
        labels.push((waits::LABEL.to_owned(), "true".to_owned()));
    }
    let mut annotations = manifest::joined(
        app.annotations(&["services", name, "labels"], &service.labels),
        app.annotations(&["services", name, "annotations"], &service.annotations),
    );
    if let Some(digest) = configs_digest(app, service) {
        annotations[CONFIGS] = Value::from(digest);
    }
    let mut metadata = Fields::new();
    metadata
        .set("labels", pairs(labels))
        .set("annotations", annotations);
    metadata
}

/// Pods are replaced when a config changes, as containers are. Not when a secret does: a fingerprint would tell of it.
fn configs_digest(app: &App<'_>, service: &Service) -> Option<String> {
    let configs = service
        .configs
        .iter()
        .filter_map(|reference| app.model.configs.get(&reference.source));
    let contents: Vec<Vec<u8>> = configs
        .filter(|config| !config.external)
        .filter_map(|config| content::of_object(app, config).ok())
        .collect();
    if contents.is_empty() {
        return None;
    }
    let mut all = Sha256::new();
    for content in contents {
        all.update(Sha256::digest(content));
    }
    Some(
        all.finalize()[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
    )
}

/// Namespaces that are shared with the node; those of other services cannot be.
fn namespaces(app: &App<'_>, name: &str, service: &Service, spec: &mut Fields) {
    let of_host = |value: &Option<String>| value.as_deref() == Some("host");
    let (network, pid, ipc) = (
        of_host(&service.network_mode),
        of_host(&service.pid),
        of_host(&service.ipc),
    );
    if network {
        spec.flag("hostNetwork", true)
            .set("dnsPolicy", "ClusterFirstWithHostNet");
    }
    // In a shared namespace the pause container is the first process of all, and collects what has ended.
    spec.flag("hostPID", pid)
        .flag("hostIPC", ipc)
        .flag("shareProcessNamespace", service.init == Some(true) && !pid);
    match service.userns_mode.as_deref() {
        None | Some("" | "host") => {}
        Some(_) if network || pid || ipc => {
            let message = "a pod with namespaces of the node has no users of its own in Kubernetes";
            app.notes.warn(&["services", name, "userns_mode"], message);
        }
        Some(_) => {
            spec.set("hostUsers", false);
        }
    }
    for (key, value) in [
        ("network_mode", &service.network_mode),
        ("pid", &service.pid),
        ("ipc", &service.ipc),
    ] {
        let value = value.as_deref().unwrap_or_default();
        if value.starts_with("service:") || value.starts_with("container:") {
            app.notes.refuse(
                &["services", name, key],
                format!("`{key}: {value}` cannot be kept: each service is a pod of its own in Kubernetes"),
                "let the services speak over a network, or put both programs into one image",
            );
        }
    }
}

fn hostname(app: &App<'_>, name: &str, service: &Service) -> Option<String> {
    let wanted = service.hostname.as_deref()?;
    let made = names::label(wanted);
    if made != wanted {
        let path = ["services", name, "hostname"];
        app.notes.warn(
            &path,
            format!("`{wanted}` is no DNS label: the host name is `{made}`"),
        );
    }
    Some(made)
}

/// `extra_hosts`: lines of `/etc/hosts`, by address.
fn host_aliases(app: &App<'_>, name: &str, service: &Service) -> Vec<Value> {
    let mut by_address: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in &service.extra_hosts {
        let (host, address) = line.split_once('=').unwrap_or((line, ""));
        let address = address.trim_matches(['[', ']']);
        if address.parse::<std::net::IpAddr>().is_err() {
            let path = ["services", name, "extra_hosts", host];
            app.notes.warn(
                &path,
                format!(
                    "`{host}` cannot lead to `{address}` in Kubernetes: pods do not know the node's address"
                ),
            );
            continue;
        }
        match by_address.iter_mut().find(|(known, _)| *known == address) {
            Some((_, hosts)) => hosts.push(host),
            None => by_address.push((address, vec![host])),
        }
    }
    let line = |(address, hosts)| json!({ "ip": address, "hostnames": hosts });
    by_address.into_iter().map(line).collect()
}

/// Beside the cluster's own, which keeps the names of services.
fn dns(service: &Service) -> Fields {
    let options = service.dns_opt.iter().map(|option| match option.split_once(':') {
        Some((name, value)) => json!({ "name": name, "value": value }),
        None => json!({ "name": option }),
    });
    let mut dns = Fields::new();
    dns.set("nameservers", service.dns.clone())
        .set("searches", service.dns_search.clone())
        .set("options", options.collect::<Vec<_>>());
    dns
}

/// `platform`, and constraints that name labels of nodes.
fn node_selector(app: &App<'_>, name: &str, service: &Service) -> Fields {
    let mut selector = Fields::new();
    if let Some(platform) = &service.platform {
        let mut parts = platform.split('/');
        selector
            .set("kubernetes.io/os", parts.next().filter(|os| !os.is_empty()))
            .set("kubernetes.io/arch", parts.next());
    }
    let placement = service
        .deploy
        .as_ref()
        .map(|deploy| deploy.placement.clone())
        .unwrap_or_default();
    let constraints = placement
        .get("constraints")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    for (at, constraint) in constraints.iter().filter_map(Value::as_str).enumerate() {
        match node_label(constraint) {
            Some((key, value)) => {
                selector.set(key, value);
            }
            None => app.notes.advise(
                &[
                    "services",
                    name,
                    "deploy",
                    "placement",
                    "constraints",
                    &at.to_string(),
                ],
                format!("`{constraint}` has no meaning in Kubernetes"),
                "`node.labels.KEY == VALUE` becomes a node selector",
            ),
        }
    }
    for key in placement
        .keys()
        .filter(|key| *key != "constraints" && !key.starts_with("x-"))
    {
        let path = ["services", name, "deploy", "placement", key];
        app.notes.warn(
            &path,
            format!("`{key}` is not carried over: write a topology spread constraint"),
        );
    }
    selector
}

fn node_label(constraint: &str) -> Option<(&str, &str)> {
    let (key, value) = constraint.split_once("==")?;
    let (key, value) = (key.trim(), value.trim());
    let key = match key {
        "node.hostname" => "kubernetes.io/hostname",
        "node.platform.os" => "kubernetes.io/os",
        "node.platform.arch" => "kubernetes.io/arch",
        key => key.strip_prefix("node.labels.")?,
    };
    (names::is_key(key) && names::word(value, 63) == value).then_some((key, value))
}
