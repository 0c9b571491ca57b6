//! Keys that are accepted, kept in `config`, and have no effect here.

use plimsoll_compose_file::model::{Network, Service};

/// The keys of a service that only Swarm, Windows, Docker Desktop or missing hardware give meaning.
pub(crate) fn unused(service: &Service) -> Vec<&'static str> {
    let deploy = service.deploy.clone().unwrap_or_default();
    let keys = [
        ("provider", service.provider.is_some()),
        ("models", !service.models.is_empty()),
        ("use_api_socket", service.use_api_socket),
        ("gpus", !service.gpus.is_empty()),
        ("isolation", service.isolation.is_some()),
        ("cpu_count", service.cpu_count.is_some()),
        ("cpu_percent", service.cpu_percent.is_some()),
        ("cpu_rt_period", service.cpu_rt_period.is_some()),
        ("cpu_rt_runtime", service.cpu_rt_runtime.is_some()),
        ("storage_opt", !service.storage_opt.is_empty()),
        ("deploy.placement", !deploy.placement.is_empty()),
        ("deploy.endpoint_mode", deploy.endpoint_mode.is_some()),
        (
            "deploy.mode",
            deploy.mode.as_ref().is_some_and(|mode| mode != "replicated"),
        ),
        (
            "deploy.resources.reservations.cpus",
            deploy.resources.reservations.cpus.is_some(),
        ),
        (
            "deploy.resources.reservations.devices",
            !deploy.resources.reservations.devices.is_empty(),
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
    chosen(&[
        ("enable_ipv4", network.enable_ipv4 == Some(false)),
        ("ipam.options", !network.ipam.options.is_empty()),
    ])
}

fn chosen(keys: &[(&'static str, bool)]) -> Vec<&'static str> {
    let used = keys.iter().filter(|(_, used)| *used);
    used.map(|(key, _)| *key).collect()
}
