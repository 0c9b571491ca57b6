//! `depends_on`: init containers that wait as Compose does, and the rights that they need.
//!
//! Each is a `kubectl` that asks the cluster itself, so that "healthy" and "has ended with 0" mean what they mean with
//! Compose, for all replicas: `rollout status` for what keeps running, `wait` for a Job. When the time is over it fails,
//! says why in its log, and the cluster tries again; the container of the service does not run before. Only the
//! waiting container gets the token of the service account, not the service.

use plimsoll_compose_file::model::{Condition, Dependency, Service};
use serde_json::{Value, json};

use crate::app::{App, PROJECT, SERVICE};
use crate::manifest::{Manifest, object};
use crate::workload::{self, Workload};
use crate::{check, names};

/// The image with `kubectl`, of the Kubernetes project.
pub(crate) const IMAGE: &str = "registry.k8s.io/kubectl:v1.34.1";
/// The service account of pods that wait.
pub(crate) const ACCOUNT: &str = "compose-waits";
/// The label of pods that wait.
pub(crate) const LABEL: &str = "plimsoll.waits";
/// After which a waiting container fails, loudly, and is started again.
const PATIENCE: &str = "--timeout=10m";
const TOKEN: &str = "compose-waits-token";
/// Somebody without rights.
const NOBODY: u32 = 65534;

/// The waiting containers of a service.
pub(crate) fn of(app: &App<'_>, name: &str, service: &Service) -> Vec<Value> {
    let each = service.depends_on.iter();
    each.filter_map(|(other, dependency)| {
        let command = command(app, name, other, dependency)?;
        Some(container(other, &command))
    })
    .collect()
}

/// What `kubectl` is asked.
fn command(app: &App<'_>, name: &str, other: &str, dependency: &Dependency) -> Option<Vec<String>> {
    let path = ["services", name, "depends_on", other];
    let awaited = app.model.services.get(other)?;
    note_restart(app, &path, dependency);
    if !dependency.required {
        app.notes.warn(
            &path,
            format!("`{name}` waits for `{other}` in Kubernetes although it could do without"),
        );
    }
    if awaited.replicas() == 0 {
        return None;
    }
    let kind = workload::kind(app, other, awaited);
    let is_checked = check::of(app, other, awaited).is_some();
    let of_kind = |kind: &str| format!("{kind}/{}", names::service(other));
    let rollout = || {
        vec![
            "rollout".to_owned(),
            "status".to_owned(),
            of_kind(&kind.kind().to_lowercase()),
        ]
    };
    let wait = |what: String, until: &str| vec!["wait".to_owned(), format!("--for={until}"), what];
    let pods = || {
        format!(
            "--selector={PROJECT}={},{SERVICE}={}",
            names::word(&app.project.name, 63),
            names::word(other, 63)
        )
    };
    let mut command = match (dependency.condition, kind, is_checked) {
        (Condition::ServiceCompletedSuccessfully, _, _) => wait(of_kind("job"), "condition=complete"),
        (Condition::ServiceHealthy, _, false) => {
            app.notes.refuse(
                &path,
                format!(
                    "nothing tells when `{other}` is healthy: the file has no `healthcheck` for it{}",
                    of_unknown(app, other)
                ),
                format!(
                    "write one for `{other}`, or {} its image first if that has one",
                    verb(awaited)
                ),
            );
            return None;
        }
        (Condition::ServiceHealthy, Workload::Job, true) => {
            [wait("pod".to_owned(), "condition=ready"), vec![pods()]].concat()
        }
        (Condition::ServiceStarted, Workload::Job, _) => wait(of_kind("job"), "jsonpath={.status.startTime}"),
        // Started, but not healthy yet: its health may need this service.
        (Condition::ServiceStarted, _, true) => [
            wait("pod".to_owned(), "jsonpath={.status.phase}=Running"),
            vec![pods()],
        ]
        .concat(),
        // What has no probe is ready as soon as it runs.
        _ => rollout(),
    };
    command.push(PATIENCE.to_owned());
    Some(command)
}

/// How an image gets here.
fn verb(service: &Service) -> &'static str {
    match service.build.is_some() {
        true => "build",
        false => "pull",
    }
}

fn of_unknown(app: &App<'_>, other: &str) -> &'static str {
    match app.images.contains_key(other) {
        true => "",
        false => ", and its image is not here to be asked",
    }
}

/// `links` imply a restart without anybody having written it: then it stands where the dependency does.
fn note_restart(app: &App<'_>, path: &[&str], dependency: &Dependency) {
    let restart = [path, &["restart"]].concat();
    let place = |path: &[&str]| app.project.document.at(path).map(|node| &node.place);
    if dependency.restart && place(&restart) != place(path) {
        app.notes.warn(
            &restart,
            "Kubernetes does not restart a service with the one it depends on",
        );
    }
}

fn container(other: &str, command: &[String]) -> Value {
    json!({
        "name": container_name(other),
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "args": command,
        "securityContext": {
            "runAsUser": NOBODY,
            "runAsNonRoot": true,
            "readOnlyRootFilesystem": true,
            "allowPrivilegeEscalation": false,
            "capabilities": { "drop": ["ALL"] },
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "volumeMounts": [{
            "name": TOKEN,
            "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
            "readOnly": true,
        }],
    })
}

/// What the cluster would mount into every container of the pod, as a volume for one.
pub(crate) fn token() -> Value {
    json!({
        "name": TOKEN,
        "projected": {
            "defaultMode": 0o444,
            "sources": [
                { "serviceAccountToken": { "path": "token", "expirationSeconds": 3600 } },
                { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
                { "downwardAPI": { "items": [{ "path": "namespace", "fieldRef": { "fieldPath": "metadata.namespace" } }] } },
            ],
        },
    })
}

/// The names of the containers that wait in pods of a service.
pub(crate) fn containers(app: &App<'_>, service: &Service) -> impl Iterator<Item = String> {
    let exists = |name: &&String| {
        app.model
            .services
            .get(*name)
            .is_some_and(|other| other.replicas() > 0)
    };
    service
        .depends_on
        .keys()
        .filter(exists)
        .map(|other| container_name(other))
}

fn container_name(other: &str) -> String {
    names::label(&format!("wait-for-{other}"))
}

/// Whether pods of a service wait for anything.
pub(crate) fn is_waiting(app: &App<'_>, service: &Service) -> bool {
    containers(app, service).next().is_some()
}

/// The account of pods that wait: it may look at workloads, and nothing else.
pub(crate) fn account(app: &App<'_>) -> Vec<Manifest> {
    if !app
        .model
        .services
        .values()
        .any(|service| is_waiting(app, service))
    {
        return Vec::new();
    }
    let metadata = || app.metadata(ACCOUNT, &[]);
    let with = |version: &str, kind: &str, fields: Value| {
        let mut value = object(version, kind, metadata());
        if let Value::Object(fields) = fields {
            value.extend(fields);
        }
        Manifest {
            file: format!("{ACCOUNT}-{}.yaml", kind.to_lowercase()),
            service: None,
            value: Value::Object(value),
        }
    };
    let rights = ["get", "list", "watch"];
    vec![
        with(
            "v1",
            "ServiceAccount",
            json!({ "automountServiceAccountToken": false }),
        ),
        with(
            "rbac.authorization.k8s.io/v1",
            "Role",
            json!({ "rules": [
                { "apiGroups": [""], "resources": ["pods"], "verbs": rights },
                { "apiGroups": ["apps"], "resources": ["daemonsets", "deployments", "statefulsets"], "verbs": rights },
                { "apiGroups": ["batch"], "resources": ["jobs"], "verbs": rights },
            ] }),
        ),
        with(
            "rbac.authorization.k8s.io/v1",
            "RoleBinding",
            json!({
                "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ACCOUNT },
                "subjects": [{ "kind": "ServiceAccount", "name": ACCOUNT, "namespace": app.namespace() }],
            }),
        ),
    ]
}

/// The way to the cluster's API, for pods that have no way out otherwise: ports of it that are in use.
pub(crate) fn way_to_api() -> Value {
    json!([{ "ports": [{ "protocol": "TCP", "port": 443 }, { "protocol": "TCP", "port": 6443 }] }])
}
