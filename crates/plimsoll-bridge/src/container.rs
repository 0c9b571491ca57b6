//! Containers of a pod: the service's own, and those that run before it.

use std::collections::BTreeMap;

use plimsoll_compose_file::model::{Hook, PreStart, Service};
use serde_json::{Value, json};

use crate::app::App;
use crate::manifest::Fields;
use crate::volumes::Mounts;
use crate::{check, limits, names, ports, security};

/// The container of a service.
pub(crate) fn of_service(app: &App<'_>, name: &str, service: &Service, mounts: &Mounts) -> Value {
    let mut container = Fields::new();
    container
        .set("name", names::label(name))
        .set("image", app.image(name, service))
        .set("imagePullPolicy", pull_policy(app, name, service));
    commands(app, name, service, &mut container);
    container
        .set("workingDir", service.working_dir.clone())
        .set("env", environment(&service.environment, &BTreeMap::new()));
    note_variables(app, name, service);
    let listening = ports::listening(app, name, service);
    let list: Vec<Value> = listening
        .iter()
        .map(|port| json!({ "name": port.name(), "containerPort": port.port, "protocol": port.protocol }))
        .collect();
    container
        .set("ports", list)
        .set("resources", limits::resources(app, name, service));
    check::add(app, name, service, &mut container);
    container
        .set("lifecycle", lifecycle(app, name, service))
        .set("securityContext", security::of_container(app, name, service))
        .set("volumeMounts", mounts.mounts.clone())
        .flag("stdin", service.stdin_open)
        .flag("tty", service.tty);
    container.into()
}

/// `pre_start`: containers that end before the service's own starts.
pub(crate) fn before(app: &App<'_>, name: &str, service: &Service, mounts: &Mounts) -> Vec<Value> {
    let steps = service.pre_start.iter().enumerate();
    steps
        .map(|(at, step)| preparing(app, name, service, mounts, at, step))
        .collect()
}

fn preparing(
    app: &App<'_>,
    name: &str,
    service: &Service,
    mounts: &Mounts,
    at: usize,
    step: &PreStart,
) -> Value {
    let number = at.to_string();
    if !step.per_replica && service.replicas() > 1 {
        let path = ["services", name, "pre_start", &number];
        app.notes
            .warn(&path, "Kubernetes runs it before each replica, not once for all");
    }
    let own = Service {
        user: step.user.clone().or_else(|| service.user.clone()),
        privileged: service.privileged || step.privileged,
        // What is said about these has been said for the service's container.
        security_opt: Vec::new(),
        ..service.clone()
    };
    let mut container = Fields::new();
    container
        .set("name", format!("pre-start-{at}"))
        .set(
            "image",
            step.image.clone().unwrap_or_else(|| app.image(name, service)),
        )
        .set(
            "imagePullPolicy",
            if step.image.is_some() {
                "IfNotPresent"
            } else {
                policy(service)
            },
        )
        .set("args", words(&step.command))
        .set(
            "workingDir",
            step.working_dir.clone().or_else(|| service.working_dir.clone()),
        )
        .set("env", environment(&service.environment, &step.environment))
        .set("securityContext", security::of_container(app, name, &own))
        .set("volumeMounts", mounts.mounts.clone());
    container.into()
}

/// An entrypoint is Kubernetes' command, a command its arguments.
fn commands(app: &App<'_>, name: &str, service: &Service, container: &mut Fields) {
    let of_image = app.images.get(name).map(|image| image.entrypoint.clone());
    let command = service.command.clone();
    match (&service.entrypoint, command) {
        // No entrypoint at all: the command is the program.
        (Some(entrypoint), Some(command)) if entrypoint.is_empty() => {
            container.set("command", words(&command));
        }
        (Some(entrypoint), None) if entrypoint.is_empty() => {
            let message = "Kubernetes cannot take the entrypoint of an image away and keep its command";
            app.notes.advise(
                &["services", name, "entrypoint"],
                message,
                "write the command, too",
            );
        }
        (Some(entrypoint), command) => {
            container.set("command", words(entrypoint));
            container.set("args", words(&command.unwrap_or_default()));
        }
        // No command at all: the entrypoint has to be said, so that the image's command does not count.
        (None, Some(command)) if command.is_empty() => match of_image {
            Some(entrypoint) if !entrypoint.is_empty() => {
                container.set("command", words(&entrypoint));
            }
            _ => app.notes.advise(
                &["services", name, "command"],
                "Kubernetes cannot take the command of an image away",
                "write the entrypoint, too, or pull the image so that its own is known",
            ),
        },
        (None, command) => {
            container.set("args", words(&command.unwrap_or_default()));
        }
    }
}

/// Kubernetes puts variables into commands and values where it sees `$(NAME)`, and takes `$$` for one.
fn literal(text: &str) -> String {
    match text.contains("$(") || text.contains("$$") {
        true => text.replace('$', "$$"),
        false => text.to_owned(),
    }
}

fn words(list: &[String]) -> Vec<String> {
    list.iter().map(|word| literal(word)).collect()
}

/// Variables; what has no value is not set.
fn environment(
    of_service: &BTreeMap<String, Option<String>>,
    more: &BTreeMap<String, Option<String>>,
) -> Vec<Value> {
    let mut all = of_service.clone();
    all.extend(more.clone());
    all.iter()
        .filter_map(|(name, value)| Some(json!({ "name": name, "value": literal(value.as_ref()?) })))
        .collect()
}

/// Kubernetes before 1.34 takes no other names.
fn note_variables(app: &App<'_>, name: &str, service: &Service) {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let is_good =
        |key: &str| key.chars().all(fits) && !key.starts_with(|letter: char| letter.is_ascii_digit());
    for key in service.environment.keys().filter(|key| !is_good(key)) {
        let path = ["services", name, "environment", key];
        app.notes
            .warn(&path, format!("Kubernetes before 1.34 has no variable `{key}`"));
    }
}

fn policy(service: &Service) -> &'static str {
    match service.pull_policy.as_deref() {
        Some("always") => "Always",
        Some("never") => "Never",
        _ => "IfNotPresent",
    }
}

fn pull_policy(app: &App<'_>, name: &str, service: &Service) -> &'static str {
    match service.pull_policy.as_deref() {
        Some(said) if said == "daily" || said == "weekly" || said.starts_with("every") => {
            let path = ["services", name, "pull_policy"];
            app.notes.warn(
                &path,
                format!("Kubernetes does not pull `{said}`: it pulls when the image is missing"),
            );
        }
        _ => {}
    }
    if service.build.is_some() {
        app.notes.advise(
            &["services", name, "build"],
            format!(
                "Kubernetes builds nothing: the cluster has to get `{}`",
                app.image(name, service)
            ),
            "`plimsoll compose build --push`, with the name of a registry in `image`",
        );
    }
    policy(service)
}

/// `post_start` and `pre_stop`.
fn lifecycle(app: &App<'_>, name: &str, service: &Service) -> Fields {
    let mut lifecycle = Fields::new();
    for (key, kind, hooks) in [
        ("post_start", "postStart", &service.post_start),
        ("pre_stop", "preStop", &service.pre_stop),
    ] {
        if let Some(command) = hook(app, &["services", name, key], hooks) {
            lifecycle.set(kind, json!({ "exec": { "command": command } }));
        }
    }
    lifecycle
}

/// There is one hook in Kubernetes: several become one script.
fn hook(app: &App<'_>, path: &[&str], hooks: &[Hook]) -> Option<Vec<String>> {
    let is_own = |hook: &Hook| {
        hook.user.is_some() || hook.privileged || hook.working_dir.is_some() || !hook.environment.is_empty()
    };
    if hooks.iter().any(is_own) {
        let message = "a hook runs as the container does in Kubernetes: its `user`, `privileged`, `working_dir` and `environment` are left out";
        app.notes.warn(path, message);
    }
    match hooks {
        [] => None,
        [one] => Some(one.command.clone()),
        several => {
            let script = several
                .iter()
                .map(|hook| shell_words::join(&hook.command))
                .collect::<Vec<_>>();
            Some(vec!["/bin/sh".to_owned(), "-c".to_owned(), script.join(" && ")])
        }
    }
}
