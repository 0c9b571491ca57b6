//! Devices of a service: nodes of the host, and what is asked of drivers.

use plimsoll_compose_file::model::{Device, DeviceRequest as Wanted, Service};
use plimsoll_container::{DeviceRequest, is_device_name};

/// In Docker's words: nodes, and requests in the order of `deploy`, `gpus` and `devices`.
pub(super) fn of(service: &Service) -> (Vec<String>, Vec<DeviceRequest>) {
    let is_named = |device: &&Device| device.source == device.target && is_device_name(&device.source);
    let (named, nodes): (Vec<_>, Vec<_>) = service.devices.iter().partition(is_named);
    let reserved = service
        .deploy
        .iter()
        .flat_map(|deploy| &deploy.resources.reservations.devices);
    let mut requests: Vec<DeviceRequest> = reserved
        .map(|wanted| request(wanted, wanted.capabilities.clone()))
        .collect();
    requests.extend(service.gpus.iter().map(|wanted| {
        let mut capabilities = wanted.capabilities.clone();
        capabilities.push("gpu".to_owned());
        request(wanted, capabilities)
    }));
    if !named.is_empty() {
        let names = named.into_iter().map(|device| device.source.clone());
        requests.push(DeviceRequest::named(names.collect()));
    }
    (nodes.into_iter().map(node).collect(), requests)
}

fn node(device: &Device) -> String {
    match device.permissions.as_str() {
        "" => format!("{}:{}", device.source, device.target),
        permissions => format!("{}:{}:{permissions}", device.source, device.target),
    }
}

fn request(wanted: &Wanted, capabilities: Vec<String>) -> DeviceRequest {
    DeviceRequest {
        driver: wanted.driver.clone().unwrap_or_default(),
        count: wanted.count.unwrap_or(0),
        device_ids: (!wanted.device_ids.is_empty()).then(|| wanted.device_ids.clone()),
        capabilities: Some(vec![capabilities]),
        options: (!wanted.options.is_empty()).then(|| wanted.options.clone()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_way_of_asking_is_one_request() {
        let service: Service = serde_json::from_value(json!({
            "devices": [
                {"source": "/dev/a", "target": "/dev/b", "permissions": "r"},
                {"source": "a.b/c=d", "target": "a.b/c=d", "permissions": "rwm"},
            ],
            "gpus": [{"count": -1}],
            "deploy": {"resources": {"reservations": {"devices": [
                {"driver": "nvidia", "device_ids": ["0"], "capabilities": ["compute"], "options": {"x": "y"}},
            ]}}},
        }))
        .expect("a service");
        let (nodes, requests) = of(&service);
        assert_eq!(nodes, ["/dev/a:/dev/b:r"]);
        let said: Vec<_> = requests
            .iter()
            .map(|request| serde_json::to_value(request).expect("plain"))
            .collect();
        assert_eq!(
            said,
            [
                json!({"Driver": "nvidia", "Count": 0, "DeviceIDs": ["0"], "Capabilities": [["compute"]], "Options": {"x": "y"}}),
                json!({"Driver": "", "Count": -1, "DeviceIDs": null, "Capabilities": [["gpu"]], "Options": null}),
                json!({"Driver": "cdi", "Count": 0, "DeviceIDs": ["a.b/c=d"], "Capabilities": null, "Options": null}),
            ]
        );
    }
}
