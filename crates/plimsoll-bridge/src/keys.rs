//! Keys of a service that nothing in a pod stands for, each with the reason. Whatever is in the file and neither mapped
//! nor named here would be lost without a word; a test holds both lists against the schema.

use plimsoll_compose_file::Node;

use crate::notes::Notes;

/// Keys without a counterpart, and why.
pub(crate) const UNMAPPED: &[(&str, &str)] = &[
    ("blkio_config", "a pod has no limits for disks"),
    ("cgroup", "the node decides about control groups"),
    ("cgroup_parent", "the node decides about control groups"),
    ("cpu_count", "it is for Windows"),
    ("cpu_percent", "it is for Windows"),
    ("cpu_period", "write `cpus` or `deploy.resources.limits.cpus`"),
    ("cpu_quota", "write `cpus` or `deploy.resources.limits.cpus`"),
    ("cpu_rt_period", "a pod has no real-time scheduling"),
    ("cpu_rt_runtime", "a pod has no real-time scheduling"),
    ("cpu_shares", "write `deploy.resources.reservations.cpus`"),
    ("cpuset", "the node's CPU manager assigns processors"),
    ("credential_spec", "it is for Windows"),
    ("develop", "it is for `compose watch`"),
    (
        "device_cgroup_rules",
        "devices come from device plugins of the node",
    ),
    ("domainname", "the cluster has a domain of its own"),
    ("external_links", "there are no containers of other projects"),
    ("isolation", "it is for Windows"),
    ("logging", "the node keeps the output of containers"),
    ("mac_address", "the cluster's network gives addresses"),
    ("mem_swappiness", "the node decides about swap"),
    ("memswap_limit", "the node decides about swap"),
    ("models", "there is no model runner"),
    ("oom_kill_disable", "the node decides what is killed"),
    ("oom_score_adj", "the node decides what is killed"),
    ("provider", "there is nobody to run it"),
    (
        "pull_refresh_after",
        "an image is pulled always, never or when it is missing",
    ),
    ("stop_signal", "the signal is that of the image"),
    ("storage_opt", "write a limit for `ephemeral-storage`"),
    ("ulimits", "the node's container runtime sets them"),
    ("use_api_socket", "there is no Docker"),
    ("uts", "a pod has a host name of its own"),
];

/// Names each key of a service that has no counterpart.
pub(crate) fn note(notes: &Notes<'_>, service: &str, node: &Node) {
    for (key, why) in UNMAPPED {
        if node.get(key).is_some_and(|value| !value.is_null()) {
            let message = format!("`{key}` has no meaning in Kubernetes: {why}");
            notes.warn(&["services", service, key], message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys that some part of this crate reads, or that say nothing about a running container.
    const MAPPED: &[&str] = &[
        "annotations",
        "attach",
        "build",
        "cap_add",
        "cap_drop",
        "command",
        "configs",
        "container_name",
        "cpus",
        "depends_on",
        "deploy",
        "devices",
        "dns",
        "dns_opt",
        "dns_search",
        "entrypoint",
        "env_file",
        "environment",
        "expose",
        "extends",
        "extra_hosts",
        "gpus",
        "group_add",
        "healthcheck",
        "hostname",
        "image",
        "init",
        "ipc",
        "label_file",
        "labels",
        "links",
        "mem_limit",
        "mem_reservation",
        "network_mode",
        "networks",
        "pid",
        "pids_limit",
        "platform",
        "ports",
        "post_start",
        "pre_start",
        "pre_stop",
        "privileged",
        "profiles",
        "pull_policy",
        "read_only",
        "restart",
        "runtime",
        "scale",
        "secrets",
        "security_opt",
        "shm_size",
        "stdin_open",
        "stop_grace_period",
        "sysctls",
        "tmpfs",
        "tty",
        "user",
        "userns_mode",
        "volumes",
        "volumes_from",
        "working_dir",
    ];

    #[test]
    fn every_key_is_mapped_or_named() {
        let unmapped = UNMAPPED.iter().map(|(key, _)| *key);
        let mut known: Vec<&str> = MAPPED.iter().copied().chain(unmapped).collect();
        known.sort_unstable();
        let mut keys: Vec<&str> = plimsoll_compose_file::service_keys().collect();
        keys.sort_unstable();
        assert_eq!(known, keys);
    }
}
