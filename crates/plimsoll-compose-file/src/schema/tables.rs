//! The tables. Keys stand in the order in which the reference prints them, and hashes them.

use super::{Field, Form, Kind, Merge, field};

use Kind::{
    Any, Boolean, Count, Duration, Integer, List, Map, Number, Object, Pairs, Path, Scalar, Size, Text,
    TextOrList, Word,
};

const TEXTS: Kind = List(&Text);
const SCALARS: Kind = List(&Scalar);

/// The top level.
pub(crate) static PROJECT: &[Field] = &[
    field("name", Text),
    field("version", Scalar),
    field("include", Kind::Form(Form::Include)),
    field("services", Map(&Object(SERVICE))),
    field("networks", Map(&Object(NETWORK))),
    field("volumes", Map(&Object(VOLUME))),
    field("secrets", Map(&Object(SECRET))),
    field("configs", Map(&Object(CONFIG))),
    field("models", Map(&Object(MODEL))),
];

/// A service.
pub(crate) static SERVICE: &[Field] = &[
    field("profiles", TEXTS).merged(Merge::Unique),
    field("annotations", Pairs),
    field("attach", Boolean),
    field("build", Kind::Form(Form::Build)),
    field("develop", Object(DEVELOP)),
    field("blkio_config", Object(BLKIO)),
    field("cap_add", TEXTS).merged(Merge::Unique),
    field("cap_drop", TEXTS).merged(Merge::Unique),
    field("cgroup_parent", Text),
    field("cgroup", Word(&["host", "private"])),
    field("cpu_count", Integer),
    field("cpu_percent", Number),
    field("cpu_period", Integer),
    field("cpu_quota", Integer),
    field("cpu_rt_period", Integer),
    field("cpu_rt_runtime", Integer),
    field("cpus", Number),
    field("cpuset", Text),
    field("cpu_shares", Integer),
    field("command", Kind::Form(Form::Command)).merged(Merge::Replace),
    field("configs", Kind::Form(Form::FileReferences)).merged(Merge::ByPath),
    field("container_name", Text),
    field("credential_spec", Object(CREDENTIAL_SPEC)),
    field("depends_on", Kind::Form(Form::DependsOn)),
    field("deploy", Object(DEPLOY)),
    field("device_cgroup_rules", TEXTS),
    field("devices", Kind::Form(Form::Devices)).merged(Merge::By(&["target"])),
    field("dns", Kind::Addresses).merged(Merge::Unique),
    field("dns_opt", TEXTS).merged(Merge::Unique),
    field("dns_search", TextOrList).merged(Merge::Unique),
    field("domainname", Text),
    field("entrypoint", Kind::Form(Form::Command)).merged(Merge::Replace),
    field("provider", Object(PROVIDER)),
    field("environment", Pairs),
    field("env_file", Kind::Form(Form::EnvFile)).merged(Merge::By(&["path"])),
    field("expose", Kind::Form(Form::Expose)).merged(Merge::Unique),
    field("extends", Kind::Form(Form::Extends)).merged(Merge::Replace),
    field("external_links", TEXTS),
    field("extra_hosts", Kind::Form(Form::Hosts)),
    field("group_add", SCALARS),
    field("gpus", Kind::Form(Form::Gpus)),
    field("hostname", Text),
    field("healthcheck", Object(HEALTHCHECK)),
    field("image", Text),
    field("init", Boolean),
    field("ipc", Text),
    field("isolation", Text),
    field("labels", Pairs),
    field("label_file", Kind::Form(Form::Paths)),
    field("links", TEXTS).merged(Merge::Unique),
    field("logging", Object(LOGGING)).merged(Merge::Logging),
    field("mem_limit", Size),
    field("mem_reservation", Size),
    field("memswap_limit", Size),
    field("mem_swappiness", Size),
    field("mac_address", Text),
    field("models", Kind::Form(Form::Models)),
    field("network_mode", Text),
    field("networks", Kind::Form(Form::Networks)),
    field("oom_kill_disable", Boolean),
    field("oom_score_adj", Integer),
    field("pid", Text),
    field("pids_limit", Integer),
    field("platform", Text),
    field("ports", Kind::Form(Form::Ports)).merged(Merge::By(&[
        "host_ip",
        "published",
        "target",
        "protocol",
    ])),
    field("privileged", Boolean),
    field("pull_policy", Kind::Form(Form::PullPolicy)),
    field("pull_refresh_after", Text),
    field("read_only", Boolean),
    field("restart", Text),
    field("runtime", Text),
    field("scale", Count),
    field("secrets", Kind::Form(Form::FileReferences)).merged(Merge::ByPath),
    field("security_opt", TEXTS),
    field("shm_size", Size),
    field("stdin_open", Boolean),
    field("stop_grace_period", Duration),
    field("stop_signal", Text),
    field("storage_opt", Map(&Any)),
    field("sysctls", Pairs),
    field("tmpfs", TextOrList).merged(Merge::Unique),
    field("tty", Boolean),
    field("ulimits", Kind::Form(Form::Ulimits)),
    field("use_api_socket", Boolean),
    field("user", Scalar),
    field("userns_mode", Text),
    field("uts", Text),
    field("volumes", Kind::Form(Form::Mounts)).merged(Merge::By(&["target"])),
    field("volumes_from", TEXTS),
    field("working_dir", Text),
    field("pre_start", List(&Object(PRE_START))),
    field("post_start", List(&Object(HOOK))),
    field("pre_stop", List(&Object(HOOK))),
];

/// `build`
pub(crate) static BUILD: &[Field] = &[
    field("context", Kind::Form(Form::Context)),
    field("dockerfile", Text),
    field("dockerfile_inline", Text),
    field("entitlements", TEXTS),
    field("args", Pairs),
    field("provenance", Scalar),
    field("sbom", Scalar),
    field("ssh", Kind::Form(Form::Ssh)),
    field("labels", Pairs),
    field("cache_from", TEXTS),
    field("cache_to", TEXTS),
    field("no_cache", Boolean),
    field("no_cache_filter", TextOrList),
    field("additional_contexts", Kind::Form(Form::AdditionalContexts)),
    field("pull", Boolean),
    field("extra_hosts", Kind::Form(Form::Hosts)),
    field("isolation", Text),
    field("network", Text),
    field("target", Text),
    field("secrets", Kind::Form(Form::FileReferences)),
    field("shm_size", Size),
    field("tags", TEXTS).merged(Merge::Unique),
    field("ulimits", Kind::Form(Form::Ulimits)),
    field("platforms", TEXTS).merged(Merge::Unique),
    field("privileged", Boolean),
];

static HEALTHCHECK: &[Field] = &[
    field("test", Kind::Form(Form::HealthTest)).merged(Merge::Replace),
    field("timeout", Duration),
    field("interval", Duration),
    field("retries", Count),
    field("start_period", Duration),
    field("start_interval", Duration),
    field("disable", Boolean),
];

static LOGGING: &[Field] = &[field("driver", Text), field("options", Map(&Scalar))];

pub(crate) static DEPLOY: &[Field] = &[
    field(
        "mode",
        Word(&["global", "replicated", "replicated-job", "global-job"]),
    ),
    field("replicas", Count),
    field("labels", Pairs),
    field("update_config", Object(UPDATE_CONFIG)),
    field("rollback_config", Object(UPDATE_CONFIG)),
    field("resources", Object(RESOURCES)),
    field("restart_policy", Object(RESTART_POLICY)),
    field("placement", Object(PLACEMENT)),
    field("endpoint_mode", Text),
];

static PLACEMENT: &[Field] = &[
    field("constraints", TEXTS),
    field("preferences", List(&Map(&Any))),
    field("max_replicas_per_node", Count),
];

static RESOURCES: &[Field] = &[
    field("limits", Object(LIMITS)),
    field("reservations", Object(RESERVATIONS)),
];

static LIMITS: &[Field] = &[
    field("cpus", Number),
    field("memory", Size),
    field("pids", Integer),
];

static RESERVATIONS: &[Field] = &[
    field("cpus", Number),
    field("memory", Size),
    field("devices", Kind::Form(Form::Requests)),
    field("generic_resources", List(&Map(&Any))),
];

/// `deploy.resources.reservations.devices`, `gpus`
pub(crate) static DEVICE_REQUEST: &[Field] = &[
    field("capabilities", TEXTS),
    field("driver", Text),
    field("count", Kind::Form(Form::Count)),
    field("device_ids", TEXTS),
    field("options", Pairs),
];

static RESTART_POLICY: &[Field] = &[
    field(
        "condition",
        Word(&["none", "on-failure", "any", "no", "always", "unless-stopped"]),
    ),
    field("delay", Duration),
    field("max_attempts", Integer),
    field("window", Duration),
];

pub(crate) static UPDATE_CONFIG: &[Field] = &[
    field("parallelism", Count),
    field("delay", Duration),
    field("failure_action", Word(&["continue", "pause", "rollback"])),
    field("monitor", Duration),
    field("max_failure_ratio", Number),
    field("order", Word(&["start-first", "stop-first"])),
];

static DEVELOP: &[Field] = &[field("watch", List(&Object(WATCH)))];

pub(crate) static WATCH: &[Field] = &[
    field("path", Path),
    field(
        "action",
        Word(&["rebuild", "restart", "sync", "sync+restart", "sync+exec"]),
    ),
    field("target", Text),
    field("exec", Object(HOOK)),
    field("include", TextOrList),
    field("ignore", TextOrList),
    field("initial_sync", Boolean),
];

static HOOK: &[Field] = &[
    field("command", Kind::Form(Form::Command)),
    field("user", Scalar),
    field("privileged", Boolean),
    field("working_dir", Text),
    field("environment", Pairs),
];

static PRE_START: &[Field] = &[
    field("image", Text),
    field("per_replica", Boolean),
    field("command", Kind::Form(Form::Command)),
    field("user", Scalar),
    field("privileged", Boolean),
    field("working_dir", Text),
    field("environment", Pairs),
];

static BLKIO: &[Field] = &[
    field("weight", Integer),
    field("weight_device", List(&Object(BLKIO_WEIGHT))),
    field("device_read_bps", List(&Object(BLKIO_RATE))),
    field("device_read_iops", List(&Object(BLKIO_RATE))),
    field("device_write_bps", List(&Object(BLKIO_RATE))),
    field("device_write_iops", List(&Object(BLKIO_RATE))),
];

pub(crate) static BLKIO_RATE: &[Field] = &[field("path", Text), field("rate", Size)];
pub(crate) static BLKIO_WEIGHT: &[Field] = &[field("path", Text), field("weight", Integer)];
static CREDENTIAL_SPEC: &[Field] = &[
    field("config", Text),
    field("file", Text),
    field("registry", Text),
];
static PROVIDER: &[Field] = &[field("type", Text), field("options", Map(&Any))];
static MODEL: &[Field] = &[
    field("name", Text),
    field("model", Text),
    field("context_size", Integer),
    field("runtime_flags", TEXTS),
];

pub(crate) static NETWORK: &[Field] = &[
    field("name", Text),
    field("driver", Text),
    field("driver_opts", Map(&Scalar)),
    field("ipam", Object(IPAM)),
    field("external", Kind::Either(&Boolean, &Object(EXTERNAL))),
    field("internal", Boolean),
    field("attachable", Boolean),
    field("labels", Pairs),
    field("enable_ipv4", Boolean),
    field("enable_ipv6", Boolean),
];

static EXTERNAL: &[Field] = &[field("name", Text)];

static IPAM: &[Field] = &[
    field("driver", Text),
    field("config", List(&Object(IPAM_CONFIG))).merged(Merge::By(&["subnet"])),
    field("options", Map(&Scalar)),
];

static IPAM_CONFIG: &[Field] = &[
    field("subnet", Text),
    field("gateway", Text),
    field("ip_range", Text),
    field("aux_addresses", Map(&Text)),
];

/// A network of a service.
pub(crate) static SERVICE_NETWORK: &[Field] = &[
    field("aliases", TEXTS).merged(Merge::Unique),
    field("driver_opts", Map(&Scalar)),
    field("gw_priority", Number),
    field("interface_name", Text),
    field("ipv4_address", Text),
    field("ipv6_address", Text),
    field("link_local_ips", TEXTS).merged(Merge::Unique),
    field("mac_address", Text),
    field("priority", Number),
];

pub(crate) static VOLUME: &[Field] = &[
    field("name", Text),
    field("driver", Text),
    field("driver_opts", Kind::Form(Form::VolumeOptions)),
    field("external", Kind::Either(&Boolean, &Object(EXTERNAL))),
    field("labels", Pairs),
];

static SECRET: &[Field] = &[
    field("name", Text),
    field("file", Path),
    field("environment", Text),
    field("external", Kind::Either(&Boolean, &Object(EXTERNAL))),
    field("labels", Pairs),
    field("driver", Text),
    field("driver_opts", Map(&Scalar)),
    field("template_driver", Text),
];

static CONFIG: &[Field] = &[
    field("name", Text),
    field("file", Path),
    field("environment", Text),
    field("content", Text),
    field("external", Kind::Either(&Boolean, &Object(EXTERNAL))),
    field("labels", Pairs),
    field("template_driver", Text),
];

/// A port, long.
pub(crate) static PORT: &[Field] = &[
    field("name", Text),
    field("mode", Text),
    field("host_ip", Text),
    field("target", Scalar),
    field("published", Scalar),
    field("protocol", Text),
    field("app_protocol", Text),
];

/// A mount, long.
pub(crate) static MOUNT: &[Field] = &[
    field(
        "type",
        Word(&["bind", "volume", "tmpfs", "image", "npipe", "cluster"]),
    ),
    field("source", Text),
    field("target", Text),
    field("read_only", Boolean),
    field("consistency", Text),
    field("bind", Object(BIND)),
    field("volume", Object(VOLUME_MOUNT)),
    field("tmpfs", Object(TMPFS)),
    field("image", Object(IMAGE_MOUNT)),
];

static BIND: &[Field] = &[
    field("selinux", Word(&["z", "Z"])),
    field("propagation", Text),
    field("create_host_path", Boolean),
    field(
        "recursive",
        Word(&["enabled", "disabled", "writable", "readonly"]),
    ),
];
static IMAGE_MOUNT: &[Field] = &[field("subpath", Text)];
static TMPFS: &[Field] = &[field("size", Size), field("mode", Integer)];
static VOLUME_MOUNT: &[Field] = &[
    field("labels", Pairs),
    field("nocopy", Boolean),
    field("subpath", Text),
];

/// A dependency, long.
pub(crate) static DEPENDENCY: &[Field] = &[
    field(
        "condition",
        Word(&[
            "service_started",
            "service_healthy",
            "service_completed_successfully",
        ]),
    ),
    field("restart", Boolean),
    field("required", Boolean),
];

/// A file of variables, long.
pub(crate) static ENV_FILE: &[Field] = &[
    field("path", Path),
    field("required", Boolean),
    field("format", Word(&["raw"])),
];

/// `extends`, long.
pub(crate) static EXTENDS: &[Field] = &[field("file", Text), field("service", Text)];

/// A secret or config of a service, long.
pub(crate) static FILE_REFERENCE: &[Field] = &[
    field("source", Text),
    field("target", Text),
    field("uid", Scalar),
    field("gid", Scalar),
    field("mode", Kind::Form(Form::Mode)),
];

/// A limit: one number, or two.
pub(crate) static ULIMITS: Kind = Kind::Either(&Integer, &Object(ULIMIT));
static ULIMIT: &[Field] = &[field("soft", Integer), field("hard", Integer)];

/// A device, long.
pub(crate) static DEVICE: &[Field] = &[
    field("source", Text),
    field("target", Text),
    field("permissions", Text),
];

/// An entry of `include`, long.
pub(crate) static INCLUDE: &[Field] = &[
    field("path", TextOrList),
    field("project_directory", Text),
    field("env_file", TextOrList),
];

/// A model of a service, long.
pub(crate) static SERVICE_MODEL: &[Field] = &[field("endpoint_var", Text), field("model_var", Text)];

/// Each of them.
pub(crate) static DEPENDENCY_KIND: Kind = Object(DEPENDENCY);

/// Each of them.
pub(crate) static SERVICE_NETWORK_KIND: Kind = Object(SERVICE_NETWORK);

/// Each of them.
pub(crate) static SERVICE_MODEL_KIND: Kind = Object(SERVICE_MODEL);

/// Each of them.
pub(crate) static PORT_KIND: Kind = Object(PORT);

/// Each of them.
pub(crate) static MOUNT_KIND: Kind = Object(MOUNT);

/// Each of them.
pub(crate) static FILE_REFERENCE_KIND: Kind = Object(FILE_REFERENCE);

/// Each of them.
pub(crate) static ENV_FILE_KIND: Kind = Object(ENV_FILE);

/// Each of them.
pub(crate) static DEVICE_KIND: Kind = Object(DEVICE);

/// Each of them.
pub(crate) static DEVICE_REQUEST_KIND: Kind = Object(DEVICE_REQUEST);
