//! Who a container is and what it may do: `user`, `privileged`, `cap_*`, `read_only`, `security_opt`, `sysctls`.

use plimsoll_compose_file::model::Service;
use serde_json::{Value, json};

use crate::app::App;
use crate::manifest::Fields;

/// `securityContext` of the container.
pub(crate) fn of_container(app: &App<'_>, name: &str, service: &Service) -> Fields {
    let mut context = Fields::new();
    let (user, group) = numbers(app, name, service);
    context.set("runAsUser", user).set("runAsGroup", group);
    context.flag("readOnlyRootFilesystem", service.read_only);
    context.flag("privileged", service.privileged);
    let mut capabilities = Fields::new();
    capabilities
        .set("add", capability_names(&service.cap_add))
        .set("drop", capability_names(&service.cap_drop));
    context.set("capabilities", capabilities);
    if !service.privileged {
        // What Docker's own profile is without a word.
        context.set("seccompProfile", json!({ "type": "RuntimeDefault" }));
    }
    for (at, option) in service.security_opt.iter().enumerate() {
        let path = ["services", name, "security_opt", &at.to_string()];
        if let Err(why) = apply(option, service, &mut context) {
            app.notes
                .warn(&path, format!("`{option}` has no meaning in Kubernetes: {why}"));
        }
    }
    context
}

/// `securityContext` of the pod.
pub(crate) fn of_pod(app: &App<'_>, name: &str, service: &Service, has_volumes: bool) -> Fields {
    let mut context = Fields::new();
    let groups: Vec<i64> = service
        .group_add
        .iter()
        .filter_map(|group| group.parse().ok())
        .collect();
    if groups.len() < service.group_add.len() {
        let path = ["services", name, "group_add"];
        app.notes.warn(
            &path,
            "Kubernetes adds groups by their numbers: names are left out",
        );
    }
    context.set("supplementalGroups", groups);
    if has_volumes {
        // A new volume belongs to root; with Compose it belongs to whom the image's folder does.
        let (user, group) = parts(service.user.as_deref().unwrap_or_default());
        context.set("fsGroup", group.flatten().or(user).filter(|id| *id > 0));
    }
    let sysctls = service.sysctls.iter();
    let sysctls: Vec<Value> = sysctls
        .map(|(name, value)| json!({ "name": name, "value": value }))
        .collect();
    context.set("sysctls", sysctls);
    context
}

/// User and group as numbers: the cluster does not look into the image.
fn numbers(app: &App<'_>, name: &str, service: &Service) -> (Option<i64>, Option<i64>) {
    let Some(text) = service.user.as_deref().filter(|text| !text.is_empty()) else {
        return (None, None);
    };
    let (user, group) = parts(text);
    if user.is_none() || group == Some(None) {
        app.notes.advise(
            &["services", name, "user"],
            format!("Kubernetes needs numbers for `user`: of `{text}` what is a name is left to the image"),
            "write `UID:GID`, or `USER` in the Dockerfile",
        );
    }
    (user, group.flatten())
}

/// `USER[:GROUP]`; the group is twice optional: it may not be said, and be no number.
fn parts(text: &str) -> (Option<i64>, Option<Option<i64>>) {
    let number = |text: &str| match text {
        "root" => Some(0),
        text => text.parse::<i64>().ok(),
    };
    match text.split_once(':') {
        Some((user, group)) => (number(user), Some(number(group))),
        None => (number(text), None),
    }
}

fn capability_names(list: &[String]) -> Vec<String> {
    let plain = |name: &String| {
        let name = name.to_uppercase();
        name.strip_prefix("CAP_").map_or(name.clone(), str::to_owned)
    };
    list.iter().map(plain).collect()
}

/// One `security_opt`, with `=` or `:` between its words.
fn apply(option: &str, service: &Service, context: &mut Fields) -> Result<(), &'static str> {
    let (key, value) = option.split_once(['=', ':']).unwrap_or((option, ""));
    match (key, value) {
        ("no-new-privileges", "" | "true") => {
            let has_all = capability_names(&service.cap_add)
                .iter()
                .any(|name| matches!(name.as_str(), "ALL" | "SYS_ADMIN"));
            if service.privileged || has_all {
                return Err("it refuses this together with `privileged` or SYS_ADMIN");
            }
            context.set("allowPrivilegeEscalation", false);
        }
        ("no-new-privileges", _) => {}
        ("seccomp", "unconfined") => {
            context.set("seccompProfile", json!({ "type": "Unconfined" }));
        }
        ("seccomp", _) => return Err("a profile has to lie on the nodes (`localhostProfile`)"),
        ("apparmor", "unconfined") => {
            context.set("appArmorProfile", json!({ "type": "Unconfined" }));
        }
        ("apparmor", profile) => {
            context.set(
                "appArmorProfile",
                json!({ "type": "Localhost", "localhostProfile": profile }),
            );
        }
        ("label", value) => return label(value, context),
        ("systempaths", _) => return Err("it shows these paths in user namespaces only"),
        _ => return Err("there is no such option"),
    }
    Ok(())
}

/// `label=type:svirt_apache_t`
fn label(value: &str, context: &mut Fields) -> Result<(), &'static str> {
    let Some((key, value)) = value.split_once(':') else {
        return Err("SELinux is the node's matter");
    };
    if !matches!(key, "user" | "role" | "type" | "level") {
        return Err("SELinux has no such option");
    }
    context.merge("seLinuxOptions", key, value);
    Ok(())
}
