//! Rules about compose files.

mod edit;
pub(in crate::rules) mod health;
pub(in crate::rules) mod images;
mod secrets;
pub(in crate::rules) mod service;
pub(in crate::rules) mod software;

family! { "compose":
    cap_add_dangerous,
    cap_drop_missing,
    compose_credential_in_url,
    compose_healthcheck_missing,
    compose_password,
    compose_privileged,
    compose_schema,
    compose_user_root,
    compose_version_obsolete,
    depends_on_no_condition,
    device_dangerous,
    docker_socket_mounted,
    host_namespace,
    host_network,
    host_root_writable,
    limits_missing,
    log_rotation_missing,
    logging_off,
    mount_shared,
    network_not_segmented,
    no_new_privileges_missing,
    port_all_interfaces,
    port_merged_twice,
    read_only_missing,
    restart_policy_missing,
    seccomp_off,
    sensitive_mount,
    source_bind_mount,
    tmpfs_exec,
}
