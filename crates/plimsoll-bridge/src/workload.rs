//! What keeps the pods of a service: a Deployment, a StatefulSet, a DaemonSet or a Job.

use plimsoll_compose_file::model::{Order, Service, UpdateConfig, UpdateFailure};
use serde_json::{Value, json};

use crate::app::{App, SERVICE};
use crate::check::seconds;
use crate::manifest::{Fields, Manifest, object};
use crate::{check, names, pod, volumes, waits};

/// The kind of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workload {
    /// Any number of pods that are all the same.
    Deployment,
    /// Pods that keep volumes of their own.
    StatefulSet,
    /// A pod on each node.
    DaemonSet,
    /// Runs to its end.
    Job,
}

impl Workload {
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::Job => "Job",
        }
    }
}

/// When a container is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Restart {
    No,
    /// How often at most.
    OnFailure(Option<i64>),
    Always,
}

/// Chooses the workload of a service.
pub(crate) fn kind(app: &App<'_>, name: &str, service: &Service) -> Workload {
    let mode = service.deploy.as_ref().and_then(|deploy| deploy.mode.as_deref());
    let is_one_shot = || {
        restart(service) == Some(Restart::No)
            && service.ports.is_empty()
            && service.replicas() == 1
            && check::of(app, name, service).is_none()
    };
    match mode {
        Some("replicated-job" | "global-job") => Workload::Job,
        _ if app.awaited.contains(name) => Workload::Job,
        Some("global") => Workload::DaemonSet,
        _ if is_one_shot() => Workload::Job,
        _ if service.volumes.iter().any(volumes::is_anonymous) => Workload::StatefulSet,
        _ => Workload::Deployment,
    }
}

/// What the file says about restarts; `deploy` goes before `restart`.
fn restart(service: &Service) -> Option<Restart> {
    let policy = service
        .deploy
        .as_ref()
        .and_then(|deploy| deploy.restart_policy.as_ref());
    if let Some(policy) = policy {
        return Some(match policy.condition.as_deref() {
            Some("none" | "no") => Restart::No,
            Some("on-failure") => Restart::OnFailure(policy.max_attempts),
            _ => Restart::Always,
        });
    }
    let text = service.restart.as_deref()?;
    let (word, count) = text.split_once(':').unwrap_or((text, ""));
    Some(match word {
        "no" => Restart::No,
        "on-failure" => Restart::OnFailure(count.parse().ok()),
        _ => Restart::Always,
    })
}

/// The workload of a service, and the files it takes along.
pub(crate) fn of(app: &App<'_>, name: &str, service: &Service) -> Vec<Manifest> {
    let kind = kind(app, name, service);
    note_restart(app, name, service, kind);
    note_deploy(app, name, service, kind);
    let mut mounts = volumes::of(app, name, service);
    let mut manifests = std::mem::take(&mut mounts.manifests);
    if matches!(kind, Workload::Job | Workload::DaemonSet) {
        // Nobody keeps these for them.
        if kind == Workload::DaemonSet && !mounts.claims.is_empty() {
            let path = ["services", name, "volumes"];
            app.notes.warn(
                &path,
                "a volume without a name is empty again in each new pod of a DaemonSet",
            );
        }
        mounts.volumes.extend(
            mounts
                .claims
                .drain(..)
                .map(|claim| json!({ "name": claim["metadata"]["name"], "emptyDir": {} })),
        );
    }
    let policy = (kind == Workload::Job).then_some("Never");
    let template = pod::template(app, name, service, &mounts, policy);
    let made = names::service(name);
    let mut metadata = app.metadata(&made, &[(SERVICE, name)]);
    let deploy = service.deploy.clone().unwrap_or_default();
    let path = ["services", name, "deploy", "labels"];
    metadata.set("annotations", app.annotations(&path, &deploy.labels));
    let version = if kind == Workload::Job {
        "batch/v1"
    } else {
        "apps/v1"
    };
    let mut value = object(version, kind.kind(), metadata);
    let spec = match kind {
        Workload::Deployment => deployment(app, name, service, template),
        Workload::StatefulSet => stateful(app, name, service, template, mounts.claims),
        Workload::DaemonSet => {
            json!({ "selector": { "matchLabels": app.selector(name) }, "template": template })
        }
        Workload::Job => job(app, service, template),
    };
    value.insert("spec".to_owned(), spec);
    manifests.push(Manifest {
        file: format!("{name}-{}.yaml", kind.kind().to_lowercase()),
        service: Some(name.to_owned()),
        value: Value::Object(value),
    });
    manifests
}

fn deployment(app: &App<'_>, name: &str, service: &Service, template: Value) -> Value {
    let update = service
        .deploy
        .as_ref()
        .and_then(|deploy| deploy.update_config.as_ref());
    let mut spec = Fields::new();
    spec.set("replicas", service.replicas())
        .set("selector", json!({ "matchLabels": app.selector(name) }))
        .set("minReadySeconds", pause(update))
        .set("progressDeadlineSeconds", deadline(update))
        .set("strategy", strategy(update, service.replicas()))
        .set("template", template);
    spec.into()
}

/// Compose stops the old container first; two at once are only right where the file says so.
fn strategy(update: Option<&UpdateConfig>, replicas: u32) -> Value {
    let parallel = update.and_then(|update| update.parallelism).unwrap_or(1);
    let some = |count: i64| match count {
        ..=0 => json!("100%"),
        count => json!(count),
    };
    match update.and_then(|update| update.order) {
        Some(Order::StartFirst) => {
            json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": some(parallel), "maxUnavailable": 0 } })
        }
        _ if update.is_some() && replicas > 1 && parallel > 0 => {
            json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 0, "maxUnavailable": parallel } })
        }
        _ => json!({ "type": "Recreate" }),
    }
}

/// The pause between batches, and how long a new pod is watched, are one thing here.
fn pause(update: Option<&UpdateConfig>) -> Option<u64> {
    let update = update?;
    let longest = update.delay.max(update.monitor).filter(|time| !time.is_zero());
    longest.map(seconds)
}

/// How long an update may take; Kubernetes wants it longer than the pause.
fn deadline(update: Option<&UpdateConfig>) -> Option<u64> {
    const DEFAULT: u64 = 600;
    pause(update)
        .filter(|pause| *pause >= DEFAULT)
        .map(|pause| pause + DEFAULT)
}

fn stateful(app: &App<'_>, name: &str, service: &Service, template: Value, claims: Vec<Value>) -> Value {
    let mut spec = Fields::new();
    spec.set("replicas", service.replicas())
        .set("serviceName", names::service(name))
        .set("podManagementPolicy", "Parallel")
        .set("selector", json!({ "matchLabels": app.selector(name) }))
        .set("template", template)
        .set("volumeClaimTemplates", claims);
    spec.into()
}

/// Each attempt is a pod of its own. One that did not get to its program, since what it waits for took too long, is no
/// attempt.
fn job(app: &App<'_>, service: &Service, template: Value) -> Value {
    let attempts = match restart(service) {
        Some(Restart::OnFailure(count)) => count.unwrap_or(i32::MAX.into()),
        Some(Restart::Always) => i32::MAX.into(),
        _ => 0,
    };
    let several = (service.replicas() > 1).then(|| service.replicas());
    let mut spec = Fields::new();
    let ignored: Vec<Value> = waits::containers(app, service)
        .map(|name| {
            let failed = json!({ "containerName": name, "operator": "NotIn", "values": [0] });
            json!({ "action": "Ignore", "onExitCodes": failed })
        })
        .collect();
    if !ignored.is_empty() {
        spec.set("podFailurePolicy", json!({ "rules": ignored }));
    }
    spec.set("backoffLimit", attempts)
        .set("parallelism", several)
        .set("completions", several)
        .set("template", template);
    spec.into()
}

/// Containers that are not started again when the file says.
fn note_restart(app: &App<'_>, name: &str, service: &Service, kind: Workload) {
    let policy = service
        .deploy
        .as_ref()
        .and_then(|deploy| deploy.restart_policy.as_ref());
    let path: &[&str] = match policy {
        Some(_) => &["services", name, "deploy", "restart_policy"],
        None => &["services", name, "restart"],
    };
    match (kind, restart(service)) {
        (Workload::Job, Some(Restart::Always)) => {
            app.notes.warn(
                path,
                format!("others wait for the end of `{name}`: it is not started again after it"),
            );
        }
        (Workload::Job, _) | (_, None | Some(Restart::Always)) => {}
        (_, Some(Restart::No)) => {
            let message = format!(
                "Kubernetes always starts the containers of a {} again",
                kind.kind()
            );
            app.notes.advise(
                path,
                message,
                "a service that ends has no `ports`, no `healthcheck` and one replica",
            );
        }
        (_, Some(Restart::OnFailure(_))) => {
            let message = format!(
                "Kubernetes starts the containers of a {} again after every end, not after failures only",
                kind.kind()
            );
            app.notes.advise(
                path,
                message,
                "`deploy.mode: replicated-job` makes a Job of a service that ends",
            );
        }
    }
}

/// What else of `deploy` is not the same.
fn note_deploy(app: &App<'_>, name: &str, service: &Service, kind: Workload) {
    let deploy = service.deploy.clone().unwrap_or_default();
    if deploy.update_config.is_some() && kind != Workload::Deployment {
        let path = ["services", name, "deploy", "update_config"];
        app.notes.warn(
            &path,
            format!(
                "a {} is updated by rules of its own: `update_config` has no meaning for it",
                kind.kind()
            ),
        );
    }
    let update = deploy.update_config.unwrap_or_default();
    if update.failure_action == Some(UpdateFailure::Rollback) {
        let path = ["services", name, "deploy", "update_config", "failure_action"];
        app.notes.advise(
            &path,
            "Kubernetes stops an update that fails, and does not take it back",
            "`kubectl rollout undo` does, and `helm upgrade --atomic`",
        );
    }
    let unused: [(&[&str], bool); 4] = [
        (
            &["services", name, "deploy", "update_config", "max_failure_ratio"],
            update.max_failure_ratio.is_some(),
        ),
        (
            &["services", name, "deploy", "rollback_config"],
            deploy.rollback_config.is_some(),
        ),
        (
            &["services", name, "deploy", "restart_policy", "window"],
            deploy
                .restart_policy
                .as_ref()
                .is_some_and(|policy| policy.window.is_some()),
        ),
        (
            &["services", name, "deploy", "restart_policy", "delay"],
            deploy
                .restart_policy
                .as_ref()
                .is_some_and(|policy| policy.delay.is_some()),
        ),
    ];
    for (path, _) in unused.into_iter().filter(|(_, is_said)| *is_said) {
        let key = path.last().copied().unwrap_or_default();
        app.notes.warn(
            path,
            format!("`{key}` has no meaning in Kubernetes: it has rules of its own"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restart_policies_are_those_of_compose() {
        let of = |condition: &str| {
            let policy = json!({ "condition": condition, "max_attempts": 3 });
            let service = json!({ "restart": "always", "deploy": { "restart_policy": policy } });
            restart(&serde_json::from_value(service).expect("a service"))
        };
        assert_eq!(of("none"), Some(Restart::No));
        assert_eq!(of("no"), Some(Restart::No));
        assert_eq!(of("on-failure"), Some(Restart::OnFailure(Some(3))));
        assert_eq!(of("any"), Some(Restart::Always));
        assert_eq!(of("unless-stopped"), Some(Restart::Always));
    }
}
