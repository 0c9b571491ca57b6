//! A container as Docker's `inspect` prints it.

mod network;

use std::collections::BTreeMap;

use jiff::Timestamp;
use plimsoll_network::Networks;
use plimsoll_runtime::MountKind;
use serde_json::{Map, Value, json};

use crate::containers::{Container, Containers};
use crate::isolation::device_parts;
use crate::log::Format;
use crate::model::{Definition, Health, HealthCheck, MountPoint, Paths, Status};
use crate::mounts::PROPAGATION;

/// Docker's words for "not yet".
const NEVER: &str = "0001-01-01T00:00:00Z";

impl Containers {
    /// Returns what `inspect` prints for a container, with Docker's field names.
    pub fn inspect(&self, container: &Container) -> Value {
        let paths = self.paths(container.id());
        let attachments = Networks::new(&self.store)
            .attachments(container.id())
            .unwrap_or_default();
        let definition = &container.definition;
        let (path, args) = definition
            .spec
            .args
            .split_first()
            .map_or(("", &[][..]), |(path, args)| (path, args));
        json!({
            "Id": definition.id,
            "Created": definition.created.to_string(),
            "Path": path,
            "Args": args,
            "State": state(container),
            "Image": definition.image_id,
            "ResolvConfPath": paths.resolv_conf(),
            "HostnamePath": paths.hostname(),
            "HostsPath": paths.hosts(),
            "LogPath": log_path(definition, &paths),
            "Name": format!("/{}", container.name),
            "RestartCount": container.state.restart_count,
            "Driver": "overlay2",
            "Platform": definition.platform.split('/').next(),
            "MountLabel": "",
            "ProcessLabel": "",
            "AppArmorProfile": "",
            "ExecIDs": Value::Null,
            "HostConfig": host_config(container),
            "GraphDriver": {
                "Name": "overlay2",
                "Data": {
                    "LowerDir": join(&definition.rootfs.lowers),
                    "UpperDir": definition.rootfs.upper,
                    "WorkDir": definition.rootfs.work,
                }
            },
            "Mounts": definition.mounts.iter().map(mount).collect::<Vec<_>>(),
            "Config": config(definition),
            "NetworkSettings": network::settings(container, &attachments),
        })
    }
}

/// Docker's own file for its json-file driver; nothing for the others.
fn log_path(definition: &Definition, paths: &Paths) -> String {
    match definition.log.format() {
        Some(Format::Json) => paths.log(Format::Json).into_string(),
        _ => String::new(),
    }
}

fn join(paths: &[std::path::PathBuf]) -> String {
    paths
        .iter()
        .map(|path| path.to_string_lossy())
        .collect::<Vec<_>>()
        .join(":")
}

fn time(time: Option<Timestamp>) -> String {
    time.map_or_else(|| NEVER.to_owned(), |time| time.to_string())
}

fn state(container: &Container) -> Value {
    let state = &container.state;
    let mut value = json!({
        "Status": state.status.as_str(),
        "Running": state.status.is_alive(),
        "Paused": state.status == Status::Paused,
        "Restarting": state.status == Status::Restarting,
        "OOMKilled": state.oom_killed,
        "Dead": state.status == Status::Dead,
        "Pid": state.pid,
        "ExitCode": state.exit_code,
        "Error": state.error,
        "StartedAt": time(state.started_at),
        "FinishedAt": time(state.finished_at),
    });
    if let (Some(health), Some(fields)) = (&state.health, value.as_object_mut()) {
        fields.insert("Health".to_owned(), probes(health));
    }
    value
}

fn probes(health: &Health) -> Value {
    let log: Vec<_> = health
        .log
        .iter()
        .map(|probe| {
            json!({
                "Start": probe.start.to_string(),
                "End": probe.end.to_string(),
                "ExitCode": probe.exit_code,
                "Output": probe.output,
            })
        })
        .collect();
    json!({ "Status": health.status.as_str(), "FailingStreak": health.failing_streak, "Log": log })
}

fn host_config(container: &Container) -> Value {
    let definition = &container.definition;
    let spec = &definition.spec;
    let resources = &spec.resources;
    let binds: Vec<_> = definition
        .mounts
        .iter()
        .filter(|mount| !mount.anonymous && mount.image.is_none())
        .map(bind)
        .collect();
    let tmpfs: BTreeMap<_, _> = spec
        .mounts
        .iter()
        .filter(|mount| mount.kind == MountKind::Tmpfs)
        .map(|mount| (mount.target.to_string_lossy(), mount.options.join(",")))
        .collect();
    let memory = resources.memory.unwrap_or(0);
    // Without limit is -1 there.
    let signed = |limit: u64| i64::try_from(limit).unwrap_or(-1);
    let ulimits: Vec<_> = spec
        .ulimits
        .iter()
        .map(|limit| json!({ "Name": limit.name, "Hard": signed(limit.hard), "Soft": signed(limit.soft) }))
        .collect();
    let mut config = json!({
        "Binds": list(binds),
        "NetworkMode": definition.network.to_string(),
        "PortBindings": network::port_bindings(definition),
        "RestartPolicy": {
            "Name": definition.restart.name(),
            "MaximumRetryCount": definition.restart.retries(),
        },
        "AutoRemove": definition.auto_remove,
        "CapAdd": list(spec.cap_add.clone()),
        "CapDrop": list(spec.cap_drop.clone()),
        "Dns": definition.resolver.servers,
        "DnsOptions": definition.resolver.options,
        "DnsSearch": definition.resolver.search,
        "Links": network::links(container),
        "ExtraHosts": list(definition.extra_hosts.iter().map(|(name, address)| format!("{name}:{address}")).collect()),
        "GroupAdd": list(spec.group_add.clone()),
        "Privileged": spec.privileged,
        "PublishAllPorts": definition.publish_all,
        "ReadonlyRootfs": spec.read_only,
        "SecurityOpt": list(definition.isolation.security_opt.clone()),
        "Tmpfs": if tmpfs.is_empty() { Value::Null } else { json!(tmpfs) },
        "ShmSize": if spec.shm_size == 0 { 64 << 20 } else { spec.shm_size },
        "Sysctls": spec.sysctls,
        "CpuShares": resources.cpu_shares.unwrap_or(0),
        "Memory": memory,
        "NanoCpus": resources.nano_cpus.unwrap_or(0),
        "CpusetCpus": resources.cpuset_cpus,
        "MemoryReservation": resources.memory_reservation.unwrap_or(0),
        "MemorySwap": resources.memory_swap.unwrap_or(memory * 2),
        "PidsLimit": resources.pids_limit,
        "Ulimits": ulimits,
        "CgroupParent": definition.isolation.cgroup_parent,
        "LogConfig": { "Type": definition.log.driver, "Config": definition.log.options },
    });
    let fields = config.as_object_mut().expect("an object was written");
    fields.extend(isolation(definition));
    if !spec.annotations.is_empty() {
        fields.insert("Annotations".to_owned(), json!(spec.annotations));
    }
    config
}

/// What is shared, and with whom; devices; what only few containers have.
fn isolation(definition: &Definition) -> serde_json::Map<String, Value> {
    let (spec, isolation) = (&definition.spec, &definition.isolation);
    let resources = &spec.resources;
    let or = |text: &str, otherwise: &str| match text {
        "" => otherwise.to_owned(),
        text => text.to_owned(),
    };
    // As they were asked for: a folder stands for all that it has.
    let devices = isolation
        .devices
        .iter()
        .filter_map(|text| device_parts(text).ok());
    let devices = devices.map(|(source, target, access)| {
        json!({ "PathOnHost": source, "PathInContainer": target, "CgroupPermissions": access })
    });
    let rates = |rates: &[plimsoll_runtime::DeviceRate]| {
        let one = |rate: &plimsoll_runtime::DeviceRate| json!({ "Path": format!("/dev/block/{}:{}", rate.major, rate.minor), "Rate": rate.value });
        list(rates.iter().map(one).collect::<Vec<_>>())
    };
    let (masked, read_only) = spec.covered_paths();
    let value = json!({
        "PidMode": isolation.pid,
        "IpcMode": or(&isolation.ipc, "private"),
        "UTSMode": isolation.uts,
        "UsernsMode": isolation.userns,
        // Podman's, for Docker has no such maps.
        "IDMappings": { "UidMap": isolation.uid_maps, "GidMap": isolation.gid_maps },
        "CgroupnsMode": or(&isolation.cgroupns, "private"),
        "Runtime": or(&isolation.runtime, "direct"),
        "Init": isolation.init.then_some(true),
        "OomScoreAdj": isolation.oom_score_adj.unwrap_or(0),
        "OomKillDisable": resources.oom_kill_disable,
        "MemorySwappiness": resources.memory_swappiness,
        "Devices": devices.collect::<Vec<_>>(),
        "DeviceRequests": list(isolation.device_requests.clone()),
        "DeviceCgroupRules": list(isolation.device_rules.clone()),
        "CpuPeriod": resources.cpu_period.unwrap_or(0),
        "CpuQuota": resources.cpu_quota.unwrap_or(0),
        "CpuRealtimePeriod": resources.cpu_rt_period.unwrap_or(0),
        "CpuRealtimeRuntime": resources.cpu_rt_runtime.unwrap_or(0),
        "CpusetMems": resources.cpuset_mems,
        "BlkioWeight": resources.blkio_weight.unwrap_or(0),
        "BlkioDeviceReadBps": rates(&resources.device_read_bps),
        "BlkioDeviceWriteBps": rates(&resources.device_write_bps),
        "BlkioDeviceReadIOps": rates(&resources.device_read_iops),
        "BlkioDeviceWriteIOps": rates(&resources.device_write_iops),
        "MaskedPaths": masked,
        "ReadonlyPaths": read_only,
    });
    match value {
        Value::Object(fields) => fields,
        _ => unreachable!("an object was written"),
    }
}

/// Go prints a list nobody has filled as null.
fn list<T: serde::Serialize>(items: Vec<T>) -> Value {
    if items.is_empty() {
        Value::Null
    } else {
        json!(items)
    }
}

fn bind(mount: &MountPoint) -> String {
    let source = mount.volume.as_deref().unwrap_or(mount.source.as_str());
    match mode(mount).as_str() {
        "" => format!("{source}:{}", mount.target),
        mode => format!("{source}:{}:{mode}", mount.target),
    }
}

fn mount(mount: &MountPoint) -> Value {
    let mut fields = Map::new();
    fields.insert(
        "Type".to_owned(),
        json!(match (&mount.image, &mount.volume) {
            (Some(_), _) => "image",
            (None, Some(_)) => "volume",
            (None, None) => "bind",
        }),
    );
    let image = mount.image.as_ref().map(|image| &image.name);
    if let Some(name) = mount.volume.as_ref().or(image) {
        fields.insert("Name".to_owned(), json!(name));
    }
    fields.insert("Source".to_owned(), json!(mount.source));
    fields.insert("Destination".to_owned(), json!(mount.target));
    if mount.volume.is_some() {
        fields.insert("Driver".to_owned(), json!("local"));
    }
    fields.insert("Mode".to_owned(), json!(mode(mount)));
    fields.insert("RW".to_owned(), json!(mount.writable));
    fields.insert("Propagation".to_owned(), json!(propagation(mount)));
    Value::Object(fields)
}

/// `ro,rslave`, as in `-v`.
fn mode(mount: &MountPoint) -> String {
    // Of an image there is nothing else.
    let read_only = (!mount.writable && mount.image.is_none()).then_some("ro");
    let words: Vec<&str> = read_only.into_iter().chain(asked_propagation(mount)).collect();
    words.join(",")
}

fn asked_propagation(mount: &MountPoint) -> Option<&str> {
    let options = mount.options.iter().map(String::as_str);
    options.into_iter().find(|option| PROPAGATION.contains(option))
}

fn propagation(mount: &MountPoint) -> &str {
    match (
        mount.volume.is_some() || mount.image.is_some(),
        asked_propagation(mount),
    ) {
        (true, _) => "",
        (false, asked) => asked.unwrap_or("rprivate"),
    }
}

fn config(definition: &Definition) -> Value {
    let spec = &definition.spec;
    let exposed: BTreeMap<_, _> = definition
        .exposed_ports
        .iter()
        .map(|port| (port, json!({})))
        .collect();
    let volumes: BTreeMap<_, _> = definition
        .mounts
        .iter()
        .filter(|mount| mount.anonymous)
        .map(|mount| (mount.target.as_str(), json!({})))
        .collect();
    let mut value = json!({
        "Hostname": spec.hostname,
        "Domainname": definition.domainname,
        "User": spec.user,
        "AttachStdin": definition.attached.stdin,
        "AttachStdout": definition.attached.stdout,
        "AttachStderr": definition.attached.stderr,
        "Tty": spec.tty,
        "OpenStdin": definition.open_stdin,
        "StdinOnce": definition.open_stdin && definition.attached.stdin,
        "Env": spec.env,
        "Cmd": list(definition.command.clone()),
        "Image": definition.image,
        "Volumes": if volumes.is_empty() { Value::Null } else { json!(volumes) },
        "WorkingDir": spec.cwd,
        "Entrypoint": definition.entrypoint,
        "Labels": definition.labels,
        "StopSignal": definition.stop_signal.name,
    });
    if let Some(fields) = value.as_object_mut() {
        if !exposed.is_empty() {
            fields.insert("ExposedPorts".to_owned(), json!(exposed));
        }
        if let Some(seconds) = definition.stop_timeout {
            fields.insert("StopTimeout".to_owned(), json!(seconds));
        }
        if let Some(check) = &definition.health {
            fields.insert("Healthcheck".to_owned(), healthcheck(check));
        }
    }
    value
}

fn healthcheck(check: &HealthCheck) -> Value {
    let nanoseconds = |duration: std::time::Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    json!({
        "Test": check.test,
        "Interval": nanoseconds(check.interval),
        "Timeout": nanoseconds(check.timeout),
        "StartPeriod": nanoseconds(check.start_period),
        "StartInterval": nanoseconds(check.start_interval),
        "Retries": check.retries,
    })
}
