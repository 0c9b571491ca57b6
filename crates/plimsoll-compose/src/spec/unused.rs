//! Keys that are accepted, kept in `config`, and have no effect here.

use plimsoll_compose_file::model::{Network, Service};

/// The keys of a service that only Swarm, Windows, Docker Desktop or missing hardware give meaning.
pub(crate) fn unused(service: &Service) -> Vec<&'static str> {
    let deploy = service.deploy.clone().unwrap_or_default();
    let update = deploy.update_config.as_ref();
    let restart = deploy.restart_policy.as_ref();
    let keys = [
        ("provider", service.provider.is_some()),
        ("models", !service.models.is_empty()),
        ("use_api_socket", service.use_api_socket),
        (
            "isolation",
            service.isolation.as_ref().is_some_and(|mode| mode != "default"),
        ),
        ("credential_spec", !service.credential_spec.is_empty()),
        ("pull_refresh_after", service.pull_refresh_after.is_some()),
        ("cpu_count", service.cpu_count.is_some()),
        ("cpu_percent", service.cpu_percent.is_some()),
        ("storage_opt", !service.storage_opt.is_empty()),
        ("deploy.placement", !deploy.placement.is_empty()),
        ("deploy.endpoint_mode", deploy.endpoint_mode.is_some()),
        (
            "deploy.mode",
            deploy.mode.as_ref().is_some_and(|mode| mode != "replicated"),
        ),
        ("deploy.rollback_config", deploy.rollback_config.is_some()),
        (
            "deploy.update_config.max_failure_ratio",
            update.is_some_and(|update| update.max_failure_ratio.is_some()),
        ),
        (
            "deploy.restart_policy.delay",
            restart.is_some_and(|restart| restart.delay.is_some()),
        ),
        (
            "deploy.restart_policy.window",
            restart.is_some_and(|restart| restart.window.is_some()),
        ),
        (
            "deploy.resources.reservations.cpus",
            deploy.resources.reservations.cpus.is_some(),
        ),
        (
            "deploy.resources.reservations.generic_resources",
            !deploy.resources.reservations.generic_resources.is_empty(),
        ),
    ];
    chosen(&keys)
}

/// The keys of a network that its driver does not know.
pub(crate) fn unused_of_network(network: &Network) -> Vec<&'static str> {
    chosen(&[("ipam.options", !network.ipam.options.is_empty())])
}

fn chosen(keys: &[(&'static str, bool)]) -> Vec<&'static str> {
    let used = keys.iter().filter(|(_, used)| *used);
    used.map(|(key, _)| *key).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_key_is_passed_over_in_silence() {
        let service: Service = serde_json::from_value(json!({
            "credential_spec": {"file": "x"},
            "deploy": {
                "mode": "global",
                "rollback_config": {},
                "update_config": {"max_failure_ratio": 0.2},
                "restart_policy": {"condition": "any", "delay": "5s", "window": "1m"},
            },
        }))
        .expect("a service");
        let expected = [
            "credential_spec",
            "deploy.mode",
            "deploy.rollback_config",
            "deploy.update_config.max_failure_ratio",
            "deploy.restart_policy.delay",
            "deploy.restart_policy.window",
        ];
        assert_eq!(unused(&service), expected);
        let network = json!({"ipam": {"options": {"a": "b"}}});
        let network: Network = serde_json::from_value(network).expect("a network");
        assert_eq!(unused_of_network(&network), ["ipam.options"]);
        assert!(unused(&Service::default()).is_empty());
    }
}
