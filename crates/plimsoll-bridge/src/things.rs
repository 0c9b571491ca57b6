//! Objects that are no workload: the namespace, configs, secrets and volumes.

use std::collections::BTreeMap;

use plimsoll_compose_file::model::{Mount, MountType, Service};
use serde_json::{Value, json};

use crate::app::{App, SECRET, VOLUME};
use crate::manifest::{Fields, Manifest, object};
use crate::{content, names, volumes};

/// How large a volume is of which nobody says it: a claim has to ask for something.
pub(crate) const SIZE: &str = "1Gi";

/// More pods than anybody counts: one on each node.
const EVERYWHERE: u32 = 1 << 16;

/// The namespace that all of it is in.
pub(crate) fn namespace(app: &App<'_>) -> Manifest {
    let name = app.namespace();
    let mut metadata = Fields::new();
    metadata.set("name", name.as_str()).set(
        "labels",
        json!({ crate::app::PROJECT: names::word(&app.project.name, 63) }),
    );
    Manifest {
        // The first of its folder, for `kubectl apply -f`.
        file: format!("0-{name}-namespace.yaml"),
        service: None,
        value: Value::Object(object("v1", "Namespace", metadata)),
    }
}

/// One ConfigMap with all configs.
pub(crate) fn configs(app: &App<'_>) -> Option<Manifest> {
    let mut files = BTreeMap::new();
    for (name, config) in app.model.configs.iter().filter(|(_, config)| !config.external) {
        if !config.labels.is_empty() {
            let path = ["configs", name, "labels"];
            app.notes.warn(
                &path,
                "all configs are in one ConfigMap in Kubernetes, which has no labels of theirs",
            );
        }
        match content::of_object(app, config) {
            Ok(bytes) => {
                files.insert(names::file_key(name), bytes);
            }
            Err(why) => app.notes.refuse(
                &["configs", name],
                format!("config `{name}` cannot be taken along: {why}"),
                "the cluster needs its content",
            ),
        }
    }
    if files.is_empty() {
        return None;
    }
    let size: usize = files.values().map(Vec::len).sum();
    if size > content::LARGEST {
        app.notes.refuse(
            &["configs"],
            format!(
                "all configs have {size} bytes, and one ConfigMap takes {}",
                content::LARGEST
            ),
            "put large files into an image",
        );
    }
    let name = app.namespace();
    let mut value = object("v1", "ConfigMap", app.metadata(&name, &[]));
    value.extend(content::config_data(&files));
    Some(Manifest {
        file: format!("{name}-configs.yaml"),
        service: None,
        value: Value::Object(value),
    })
}

/// A Secret for each secret that is not somebody else's.
pub(crate) fn secrets(app: &App<'_>) -> Vec<Manifest> {
    let own = app.model.secrets.iter().filter(|(_, secret)| !secret.external);
    own.filter_map(|(key, secret)| match content::of_object(app, secret) {
        Ok(bytes) => {
            let name = names::label(key);
            let mut metadata = app.metadata(&name, &[(SECRET, key)]);
            metadata.set(
                "annotations",
                app.annotations(&["secrets", key, "labels"], &secret.labels),
            );
            let mut value = object("v1", "Secret", metadata);
            value.insert("type".to_owned(), json!("Opaque"));
            value.insert(
                "data".to_owned(),
                content::secret_data(&BTreeMap::from([(names::file_key(key), bytes)])),
            );
            Some(Manifest {
                file: format!("{key}-secret.yaml"),
                service: None,
                value: Value::Object(value),
            })
        }
        Err(why) => {
            let message = format!("secret `{key}` cannot be taken along: {why}");
            let help = "say `external: true` when the cluster has it already";
            app.notes.refuse(&["secrets", key], message, help);
            None
        }
    })
    .collect()
}

/// A claim for each volume that is not somebody else's.
pub(crate) fn claims(app: &App<'_>) -> Vec<Manifest> {
    let mut claims = Vec::new();
    for (key, volume) in &app.model.volumes {
        let users: Vec<&Service> = app
            .model
            .services
            .values()
            .filter(|service| mounts(app, service, key))
            .collect();
        if users.is_empty() {
            continue;
        }
        let pods: u32 = users
            .iter()
            .map(|service| pods(service))
            .fold(0, u32::saturating_add);
        let mode = if pods > 1 {
            "ReadWriteMany"
        } else {
            "ReadWriteOnce"
        };
        if pods > 1 {
            app.notes.advise(
                &["volumes", key],
                format!("volume `{key}` is mounted by {}: the cluster's storage has to allow that (ReadWriteMany)", several(pods)),
                "a storage class for network file systems does; `ReadWriteOnce` is enough where all pods run on one node",
            );
        }
        let driver = volume
            .driver
            .as_deref()
            .is_some_and(|driver| !matches!(driver, "" | "local"));
        if driver || volume.driver_opts.keys().any(|key| key != "size") {
            app.notes.advise(
                &["volumes", key],
                format!("the driver of volume `{key}` and its options have no meaning in Kubernetes"),
                "choose a storage class instead",
            );
        }
        if volume.external {
            continue;
        }
        let name = volumes::claim_name(app, key);
        let mut metadata = app.metadata(&name, &[(VOLUME, key)]);
        metadata.set(
            "annotations",
            app.annotations(&["volumes", key, "labels"], &volume.labels),
        );
        let mut value = object("v1", "PersistentVolumeClaim", metadata);
        let size = volume.driver_opts.get("size").filter(|size| is_quantity(size));
        value.insert("spec".to_owned(), claim_spec(&[mode], size.map(String::as_str)));
        claims.push(Manifest {
            file: format!("{key}-persistentVolumeClaim.yaml"),
            service: None,
            value: Value::Object(value),
        });
    }
    claims
}

fn several(pods: u32) -> String {
    match pods {
        EVERYWHERE.. => "a pod on each node".to_owned(),
        pods => format!("{pods} pods"),
    }
}

fn is_quantity(text: &str) -> bool {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    digits.parse::<u64>().is_ok()
        && matches!(
            &text[digits.len()..],
            "" | "Ki" | "Mi" | "Gi" | "Ti" | "k" | "M" | "G" | "T"
        )
}

/// `spec` of a claim.
pub(crate) fn claim_spec(modes: &[&str], size: Option<&str>) -> Value {
    json!({
        "accessModes": modes,
        "resources": { "requests": { "storage": size.unwrap_or(SIZE) } },
    })
}

fn mounts(app: &App<'_>, service: &Service, key: &str) -> bool {
    let is = |mount: &Mount| mount.kind == MountType::Volume && mount.source.as_deref() == Some(key);
    let of_other = |from: &String| {
        let name = from.split(':').next().unwrap_or_default();
        let other = app.model.services.get(name);
        other.is_some_and(|other| other.volumes.iter().any(is))
    };
    service.volumes.iter().any(is) || service.volumes_from.iter().any(of_other)
}

/// How many pods a service has; one on each node is many.
fn pods(service: &Service) -> u32 {
    let mode = service.deploy.as_ref().and_then(|deploy| deploy.mode.as_deref());
    match mode.is_some_and(|mode| mode.starts_with("global")) {
        true => EVERYWHERE,
        false => service.replicas().min(EVERYWHERE - 1),
    }
}
