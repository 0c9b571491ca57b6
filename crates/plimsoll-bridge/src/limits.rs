//! What a container may use: `deploy.resources`, and the older keys.

use plimsoll_compose_file::model::{DeviceRequest, Service};
use serde_json::Value;

use crate::app::App;
use crate::manifest::Fields;

/// `resources` of a container.
pub(crate) fn resources(app: &App<'_>, name: &str, service: &Service) -> Fields {
    let deploy = service.deploy.clone().unwrap_or_default().resources;
    let mut limits = Fields::new();
    limits
        .set("cpu", deploy.limits.cpus.or(service.cpus).and_then(cpus))
        .set(
            "memory",
            deploy.limits.memory.or(service.mem_limit).and_then(bytes),
        );
    let mut requests = Fields::new();
    requests.set("cpu", deploy.reservations.cpus.and_then(cpus)).set(
        "memory",
        deploy
            .reservations
            .memory
            .or(service.mem_reservation)
            .and_then(bytes),
    );
    for (path, is_said) in [
        (
            &["services", name, "deploy", "resources", "limits", "pids"][..],
            deploy.limits.pids.is_some(),
        ),
        (
            &["services", name, "pids_limit"][..],
            service.pids_limit.is_some(),
        ),
    ] {
        if is_said {
            app.notes.warn(
                path,
                "how many processes a pod may have is decided by the node (`podPidsLimit`)",
            );
        }
    }
    let devices: &[&str] = &["services", name, "deploy", "resources", "reservations", "devices"];
    let gpus: &[&str] = &["services", name, "gpus"];
    for (path, requests) in [(devices, &deploy.reservations.devices), (gpus, &service.gpus)] {
        requests
            .iter()
            .for_each(|request| device(app, path, request, path == gpus, &mut limits));
    }
    if !deploy.reservations.generic_resources.is_empty() {
        let path = [
            "services",
            name,
            "deploy",
            "resources",
            "reservations",
            "generic_resources",
        ];
        app.notes.warn(
            &path,
            "`generic_resources` have no meaning in Kubernetes: name the resource of a device plugin",
        );
    }
    let mut resources = Fields::new();
    resources.set("limits", limits).set("requests", requests);
    resources
}

/// A GPU is a resource of the device plugin of its maker.
fn device(app: &App<'_>, path: &[&str], request: &DeviceRequest, is_gpu: bool, limits: &mut Fields) {
    let resource = match request.driver.as_deref() {
        None | Some("" | "nvidia") => "nvidia.com/gpu",
        Some("amd") => "amd.com/gpu",
        Some(_) => "",
    };
    let is_gpu = is_gpu || request.capabilities.iter().any(|capability| capability == "gpu");
    if !is_gpu || resource.is_empty() {
        app.notes.warn(
            path,
            "devices other than GPUs of NVIDIA and AMD have no common name in Kubernetes: left out",
        );
        return;
    }
    let counted = request.count.filter(|count| *count > 0);
    if counted.is_none() || !request.device_ids.is_empty() {
        let message = "a pod gets a number of GPUs, neither all nor certain ones";
        app.notes
            .warn(path, format!("{message}: {} here", counted.unwrap_or(1)));
    }
    limits.set(resource, counted.unwrap_or(1).to_string());
}

/// Processors, in thousandths where they are no whole number.
fn cpus(number: f64) -> Option<Value> {
    let thousandths = (number * 1000.0).ceil() as i64;
    match (thousandths > 0, thousandths % 1000) {
        (false, _) => None,
        (true, 0) => Some(Value::from((thousandths / 1000).to_string())),
        (true, _) => Some(Value::from(format!("{thousandths}m"))),
    }
}

/// Bytes, in the largest unit that divides them.
pub(crate) fn bytes(number: i64) -> Option<Value> {
    let units = [(1 << 30, "Gi"), (1 << 20, "Mi"), (1 << 10, "Ki"), (1, "")];
    let (unit, letters) = units.into_iter().find(|(unit, _)| number % unit == 0)?;
    (number > 0).then(|| Value::from(format!("{}{letters}", number / unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_as_kubernetes_writes_them() {
        assert_eq!(bytes(64 << 20), Some(Value::from("64Mi")));
        assert_eq!(bytes(1000), Some(Value::from("1000")));
        assert_eq!(bytes(0), None);
        assert_eq!(cpus(0.25), Some(Value::from("250m")));
        assert_eq!(cpus(2.0), Some(Value::from("2")));
    }
}
