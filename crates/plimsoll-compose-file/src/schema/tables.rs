//! The tables.

use super::{Field, Form, Kind, Merge, field};

use Kind::{
    Any, Boolean, Duration, Integer, List, Map, Number, Object, Pairs, Path, Scalar, Size, Text, TextOrList,
    Word,
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
    field("annotations", Pairs),
    field("attach", Boolean),
    field("blkio_config", Object(BLKIO)),
    field("build", Kind::Form(Form::Build)),
    field("cap_add", TEXTS).merged(Merge::Unique),
    field("cap_drop", TEXTS).merged(Merge::Unique),
    field("cgroup", Word(&["host", "private"])),
    field("cgroup_parent", Text),
    field("command", Kind::Form(Form::Command)).merged(Merge::Replace),
    field("configs", Kind::Form(Form::FileReferences)).merged(Merge::By(&["target"])),
    field("container_name", Text),
    field("cpu_count", Integer),
    field("cpu_percent", Number),
    field("cpu_period", Scalar),
    field("cpu_quota", Scalar),
    field("cpu_rt_period", Scalar),
    field("cpu_rt_runtime", Scalar),
    field("cpu_shares", Scalar),
    field("cpus", Number),
    field("cpuset", Text),
    field("credential_spec", Object(CREDENTIAL_SPEC)),
    field("depends_on", Kind::Form(Form::DependsOn)),
    field("deploy", Object(DEPLOY)),
    field("develop", Object(DEVELOP)),
    field("device_cgroup_rules", TEXTS),
    field("devices", Kind::Form(Form::Devices)).merged(Merge::By(&["target"])),
    field("dns", TextOrList).merged(Merge::Unique),
    field("dns_opt", TEXTS).merged(Merge::Unique),
    field("dns_search", TextOrList).merged(Merge::Unique),
    field("domainname", Text),
    field("entrypoint", Kind::Form(Form::Command)).merged(Merge::Replace),
    field("env_file", Kind::Form(Form::EnvFile)).merged(Merge::By(&["path"])),
    field("environment", Pairs),
    field("expose", Kind::Form(Form::Expose)).merged(Merge::Unique),
    field("extends", Kind::Form(Form::Extends)).merged(Merge::Replace),
    field("external_links", TEXTS),
    field("extra_hosts", Kind::Form(Form::Hosts)),
    field("gpus", Kind::Form(Form::Gpus)),
    field("group_add", SCALARS),
    field("healthcheck", Object(HEALTHCHECK)),
    field("hostname", Text),
    field("image", Text),
    field("init", Boolean),
    field("ipc", Text),
    field("isolation", Text),
    field("label_file", TextOrList),
    field("labels", Pairs),
    field("links", TEXTS).merged(Merge::Unique),
    field("logging", Object(LOGGING)).merged(Merge::Logging),
    field("mac_address", Text),
    field("mem_limit", Size),
    field("mem_reservation", Size),
    field("mem_swappiness", Scalar),
    field("memswap_limit", Size),
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
    field("post_start", List(&Object(HOOK))),
    field("pre_start", List(&Object(PRE_START))),
    field("pre_stop", List(&Object(HOOK))),
    field("privileged", Boolean),
    field("profiles", TEXTS).merged(Merge::Unique),
    field("provider", Object(PROVIDER)),
    field("pull_policy", Kind::Form(Form::PullPolicy)),
    field("pull_refresh_after", Text),
    field("read_only", Boolean),
    field("restart", Text),
    field("runtime", Text),
    field("scale", Integer),
    field("secrets", Kind::Form(Form::FileReferences)).merged(Merge::By(&["target"])),
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
];

/// `build`
pub(crate) static BUILD: &[Field] = &[
    field("additional_contexts", Kind::Form(Form::AdditionalContexts)),
    field("args", Pairs),
    field("cache_from", TEXTS),
    field("cache_to", TEXTS),
    field("context", Kind::Form(Form::Context)),
    field("dockerfile", Text),
    field("dockerfile_inline", Text),
    field("entitlements", TEXTS),
    field("extra_hosts", Kind::Form(Form::Hosts)),
    field("isolation", Text),
    field("labels", Pairs),
    field("network", Text),
    field("no_cache", Boolean),
    field("no_cache_filter", TextOrList),
    field("platforms", TEXTS).merged(Merge::Unique),
    field("privileged", Boolean),
    field("provenance", Scalar),
    field("pull", Boolean),
    field("sbom", Scalar),
    field("secrets", Kind::Form(Form::FileReferences)).merged(Merge::By(&["source"])),
    field("shm_size", Size),
    field("ssh", Kind::Form(Form::Ssh)),
    field("tags", TEXTS).merged(Merge::Unique),
    field("target", Text),
    field("ulimits", Kind::Form(Form::Ulimits)),
];

static HEALTHCHECK: &[Field] = &[
    field("disable", Boolean),
    field("interval", Duration),
    field("retries", Integer),
    field("start_interval", Duration),
    field("start_period", Duration),
    field("test", Kind::Form(Form::HealthTest)).merged(Merge::Replace),
    field("timeout", Duration),
];

static LOGGING: &[Field] = &[field("driver", Text), field("options", Map(&Scalar))];

static DEPLOY: &[Field] = &[
    field("endpoint_mode", Text),
    field("labels", Pairs),
    field(
        "mode",
        Word(&["global", "replicated", "replicated-job", "global-job"]),
    ),
    field("placement", Object(PLACEMENT)),
    field("replicas", Integer),
    field("resources", Object(RESOURCES)),
    field("restart_policy", Object(RESTART_POLICY)),
    field("rollback_config", Object(UPDATE_CONFIG)),
    field("update_config", Object(UPDATE_CONFIG)),
];

static PLACEMENT: &[Field] = &[
    field("constraints", TEXTS),
    field("max_replicas_per_node", Integer),
    field("preferences", List(&Map(&Any))),
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
    field("devices", List(&Object(DEVICE_REQUEST))),
    field("generic_resources", List(&Map(&Any))),
    field("memory", Size),
];

/// `deploy.resources.reservations.devices`, `gpus`
pub(crate) static DEVICE_REQUEST: &[Field] = &[
    field("capabilities", TEXTS),
    field("count", Scalar),
    field("device_ids", TEXTS),
    field("driver", Text),
    field("options", Pairs),
];

static RESTART_POLICY: &[Field] = &[
    field("condition", Word(&["none", "on-failure", "any"])),
    field("delay", Duration),
    field("max_attempts", Integer),
    field("window", Duration),
];

static UPDATE_CONFIG: &[Field] = &[
    field("delay", Duration),
    field("failure_action", Word(&["continue", "pause", "rollback"])),
    field("max_failure_ratio", Number),
    field("monitor", Duration),
    field("order", Word(&["start-first", "stop-first"])),
    field("parallelism", Integer),
];

static DEVELOP: &[Field] = &[field("watch", List(&Object(WATCH)))];

static WATCH: &[Field] = &[
    field(
        "action",
        Word(&["rebuild", "restart", "sync", "sync+restart", "sync+exec"]),
    ),
    field("exec", Object(HOOK)),
    field("ignore", TextOrList),
    field("include", TextOrList),
    field("initial_sync", Boolean),
    field("path", Path),
    field("target", Text),
];

static HOOK: &[Field] = &[
    field("command", Kind::Form(Form::Command)),
    field("environment", Pairs),
    field("privileged", Boolean),
    field("user", Scalar),
    field("working_dir", Text),
];

static PRE_START: &[Field] = &[
    field("command", Kind::Form(Form::Command)),
    field("environment", Pairs),
    field("image", Text),
    field("per_replica", Boolean),
    field("privileged", Boolean),
    field("user", Scalar),
    field("working_dir", Text),
];

static BLKIO: &[Field] = &[
    field("device_read_bps", List(&Object(BLKIO_RATE))),
    field("device_read_iops", List(&Object(BLKIO_RATE))),
    field("device_write_bps", List(&Object(BLKIO_RATE))),
    field("device_write_iops", List(&Object(BLKIO_RATE))),
    field("weight", Integer),
    field("weight_device", List(&Object(BLKIO_WEIGHT))),
];

static BLKIO_RATE: &[Field] = &[field("path", Text), field("rate", Size)];
static BLKIO_WEIGHT: &[Field] = &[field("path", Text), field("weight", Integer)];
static CREDENTIAL_SPEC: &[Field] = &[
    field("config", Text),
    field("file", Text),
    field("registry", Text),
];
static PROVIDER: &[Field] = &[field("options", Map(&Any)), field("type", Text)];
static MODEL: &[Field] = &[
    field("context_size", Integer),
    field("model", Text),
    field("name", Text),
    field("runtime_flags", TEXTS),
];

static NETWORK: &[Field] = &[
    field("attachable", Boolean),
    field("driver", Text),
    field("driver_opts", Map(&Scalar)),
    field("enable_ipv4", Boolean),
    field("enable_ipv6", Boolean),
    field("external", Kind::Either(&Boolean, &Object(EXTERNAL))),
    field("internal", Boolean),
    field("ipam", Object(IPAM)),
    field("labels", Pairs),
    field("name", Text),
];

static EXTERNAL: &[Field] = &[field("name", Text)];

static IPAM: &[Field] = &[
    field("config", List(&Object(IPAM_CONFIG))).merged(Merge::By(&["subnet"])),
    field("driver", Text),
    field("options", Map(&Scalar)),
];

static IPAM_CONFIG: &[Field] = &[
    field("aux_addresses", Map(&Text)),
    field("gateway", Text),
    field("ip_range", Text),
    field("subnet", Text),
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

static VOLUME: &[Field] = &[
    field("driver", Text),
    field("driver_opts", Map(&Scalar)),
    field("external", Kind::Either(&Boolean, &Object(EXTERNAL))),
    field("labels", Pairs),
    field("name", Text),
];

static SECRET: &[Field] = &[
    field("driver", Text),
    field("driver_opts", Map(&Scalar)),
    field("environment", Text),
    field("external", Kind::Either(&Boolean, &Object(EXTERNAL))),
    field("file", Path),
    field("labels", Pairs),
    field("name", Text),
    field("template_driver", Text),
];

static CONFIG: &[Field] = &[
    field("content", Text),
    field("environment", Text),
    field("external", Kind::Either(&Boolean, &Object(EXTERNAL))),
    field("file", Path),
    field("labels", Pairs),
    field("name", Text),
    field("template_driver", Text),
];

/// A port, long.
pub(crate) static PORT: &[Field] = &[
    field("app_protocol", Text),
    field("host_ip", Text),
    field("mode", Text),
    field("name", Text),
    field("protocol", Text),
    field("published", Scalar),
    field("target", Scalar),
];

/// A mount, long.
pub(crate) static MOUNT: &[Field] = &[
    field("bind", Object(BIND)),
    field("consistency", Text),
    field("image", Object(IMAGE_MOUNT)),
    field("read_only", Boolean),
    field("source", Text),
    field("target", Text),
    field("tmpfs", Object(TMPFS)),
    field(
        "type",
        Word(&["bind", "volume", "tmpfs", "image", "npipe", "cluster"]),
    ),
    field("volume", Object(VOLUME_MOUNT)),
];

static BIND: &[Field] = &[
    field("create_host_path", Boolean),
    field("propagation", Text),
    field(
        "recursive",
        Word(&["enabled", "disabled", "writable", "readonly"]),
    ),
    field("selinux", Word(&["z", "Z"])),
];
static IMAGE_MOUNT: &[Field] = &[field("subpath", Text)];
static TMPFS: &[Field] = &[field("mode", Scalar), field("size", Size)];
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
    field("required", Boolean),
    field("restart", Boolean),
];

/// A file of variables, long.
pub(crate) static ENV_FILE: &[Field] = &[
    field("format", Word(&["raw"])),
    field("path", Path),
    field("required", Boolean),
];

/// `extends`, long.
pub(crate) static EXTENDS: &[Field] = &[field("file", Text), field("service", Text)];

/// A secret or config of a service, long.
pub(crate) static FILE_REFERENCE: &[Field] = &[
    field("gid", Scalar),
    field("mode", Scalar),
    field("source", Text),
    field("target", Text),
    field("uid", Scalar),
];

/// A limit: one number, or two.
pub(crate) static ULIMITS: Kind = Kind::Either(&Integer, &Object(ULIMIT));
static ULIMIT: &[Field] = &[field("hard", Integer), field("soft", Integer)];

/// A device, long.
pub(crate) static DEVICE: &[Field] = &[
    field("permissions", Text),
    field("source", Text),
    field("target", Text),
];

/// An entry of `include`, long.
pub(crate) static INCLUDE: &[Field] = &[
    field("env_file", TextOrList),
    field("path", TextOrList),
    field("project_directory", Text),
];

/// A model of a service, long.
pub(crate) static SERVICE_MODEL: &[Field] = &[field("endpoint_var", Text), field("model_var", Text)];

/// Each of them.
pub(crate) static DEPENDENCY_KIND: Kind = Object(DEPENDENCY);

/// Each of them.
pub(crate) static SERVICE_NETWORK_KIND: Kind = Object(SERVICE_NETWORK);

/// Each of them.
pub(crate) static SERVICE_MODEL_KIND: Kind = Object(SERVICE_MODEL);
