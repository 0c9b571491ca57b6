//! `services.NAME`

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::build::Build;
use super::read;
use super::resources::{Blkio, Deploy, DeviceRequest};

/// A service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Service {
    /// Profiles that it is in.
    pub profiles: Vec<String>,
    /// `--annotation`
    pub annotations: BTreeMap<String, String>,
    /// Whether `up` shows its output.
    pub attach: Option<bool>,
    /// How its image is made.
    pub build: Option<Build>,
    /// What `watch` does.
    pub develop: Option<Develop>,
    /// Disk limits.
    pub blkio_config: Option<Blkio>,
    /// `--cap-add`
    pub cap_add: Vec<String>,
    /// `--cap-drop`
    pub cap_drop: Vec<String>,
    /// `--cgroup-parent`
    pub cgroup_parent: Option<String>,
    /// `--cgroupns`
    pub cgroup: Option<String>,
    /// Windows only.
    #[serde(deserialize_with = "read::whole")]
    pub cpu_count: Option<i64>,
    /// Windows only.
    #[serde(deserialize_with = "read::number")]
    pub cpu_percent: Option<f64>,
    /// `--cpu-period`, in microseconds.
    #[serde(deserialize_with = "read::whole")]
    pub cpu_period: Option<i64>,
    /// `--cpu-quota`, in microseconds.
    #[serde(deserialize_with = "read::whole")]
    pub cpu_quota: Option<i64>,
    /// `--cpu-rt-period`
    #[serde(deserialize_with = "read::whole")]
    pub cpu_rt_period: Option<i64>,
    /// `--cpu-rt-runtime`
    #[serde(deserialize_with = "read::whole")]
    pub cpu_rt_runtime: Option<i64>,
    /// `--cpus`
    #[serde(deserialize_with = "read::number")]
    pub cpus: Option<f64>,
    /// `--cpuset-cpus`
    pub cpuset: Option<String>,
    /// `--cpu-shares`
    #[serde(deserialize_with = "read::whole")]
    pub cpu_shares: Option<i64>,
    /// Instead of the image's; an empty list is no command.
    pub command: Option<Vec<String>>,
    /// Configs, as files.
    pub configs: Vec<FileReference>,
    /// A fixed name.
    pub container_name: Option<String>,
    /// Windows only.
    pub credential_spec: BTreeMap<String, String>,
    /// What it waits for.
    pub depends_on: BTreeMap<String, Dependency>,
    /// Replicas, limits, updates.
    pub deploy: Option<Deploy>,
    /// `--device-cgroup-rule`
    pub device_cgroup_rules: Vec<String>,
    /// `--device`
    pub devices: Vec<Device>,
    /// `--dns`
    pub dns: Vec<String>,
    /// `--dns-option`
    pub dns_opt: Vec<String>,
    /// `--dns-search`
    pub dns_search: Vec<String>,
    /// `--domainname`
    pub domainname: Option<String>,
    /// Instead of the image's; an empty list is none.
    pub entrypoint: Option<Vec<String>>,
    /// Somebody else runs it: not supported here.
    pub provider: Option<serde_json::Value>,
    /// Variables; nothing is a variable that is not set.
    pub environment: BTreeMap<String, Option<String>>,
    /// Ports that others may speak to.
    pub expose: Vec<String>,
    /// Containers of other projects: `CONTAINER[:ALIAS]`.
    pub external_links: Vec<String>,
    /// `--add-host`: `NAME=ADDRESS`.
    pub extra_hosts: Vec<String>,
    /// `--group-add`
    pub group_add: Vec<String>,
    /// `--gpus`
    pub gpus: Vec<DeviceRequest>,
    /// `--hostname`
    pub hostname: Option<String>,
    /// How its health is told.
    pub healthcheck: Option<Healthcheck>,
    /// Its image; where nothing is said, the one that it builds.
    pub image: Option<String>,
    /// `--init`
    pub init: Option<bool>,
    /// `--ipc`; also `service:NAME`.
    pub ipc: Option<String>,
    /// Windows only.
    pub isolation: Option<String>,
    /// Labels of its containers.
    pub labels: BTreeMap<String, String>,
    /// Other names of services: `SERVICE[:ALIAS]`.
    pub links: Vec<String>,
    /// Where its output goes.
    pub logging: Option<Logging>,
    /// `--memory`, in bytes.
    #[serde(deserialize_with = "read::whole")]
    pub mem_limit: Option<i64>,
    /// `--memory-reservation`, in bytes.
    #[serde(deserialize_with = "read::whole")]
    pub mem_reservation: Option<i64>,
    /// `--memory-swap`, in bytes; -1 is without limit.
    #[serde(deserialize_with = "read::whole")]
    pub memswap_limit: Option<i64>,
    /// `--memory-swappiness`
    #[serde(deserialize_with = "read::whole")]
    pub mem_swappiness: Option<i64>,
    /// `--mac-address`
    pub mac_address: Option<String>,
    /// AI models: not supported here.
    pub models: BTreeMap<String, serde_json::Value>,
    /// `none`, `host`, `service:NAME`, `container:NAME`.
    pub network_mode: Option<String>,
    /// Networks by their key.
    pub networks: BTreeMap<String, Option<ServiceNetwork>>,
    /// `--oom-kill-disable`
    pub oom_kill_disable: bool,
    /// `--oom-score-adj`
    #[serde(deserialize_with = "read::whole")]
    pub oom_score_adj: Option<i64>,
    /// `--pid`; also `service:NAME`.
    pub pid: Option<String>,
    /// `--pids-limit`
    #[serde(deserialize_with = "read::whole")]
    pub pids_limit: Option<i64>,
    /// `--platform`
    pub platform: Option<String>,
    /// Published ports.
    pub ports: Vec<Port>,
    /// `--privileged`
    pub privileged: bool,
    /// When its image is pulled.
    pub pull_policy: Option<String>,
    /// How old an image may get.
    pub pull_refresh_after: Option<String>,
    /// `--read-only`
    pub read_only: bool,
    /// `--restart`
    pub restart: Option<String>,
    /// `--runtime`
    pub runtime: Option<String>,
    /// How many containers.
    #[serde(deserialize_with = "read::whole")]
    pub scale: Option<i64>,
    /// Secrets, as files.
    pub secrets: Vec<FileReference>,
    /// `--security-opt`
    pub security_opt: Vec<String>,
    /// `--shm-size`, in bytes.
    #[serde(deserialize_with = "read::whole")]
    pub shm_size: Option<i64>,
    /// `--interactive`
    pub stdin_open: bool,
    /// How long it has to end by itself.
    #[serde(deserialize_with = "read::duration")]
    pub stop_grace_period: Option<Duration>,
    /// `--stop-signal`
    pub stop_signal: Option<String>,
    /// `--storage-opt`
    pub storage_opt: BTreeMap<String, serde_json::Value>,
    /// `--sysctl`
    pub sysctls: BTreeMap<String, String>,
    /// `--tmpfs`: `PATH[:OPTIONS]`.
    pub tmpfs: Vec<String>,
    /// `--tty`
    pub tty: bool,
    /// `--ulimit`
    pub ulimits: BTreeMap<String, Ulimit>,
    /// Docker's socket: not supported here.
    pub use_api_socket: bool,
    /// `--user`
    pub user: Option<String>,
    /// `--userns`
    pub userns_mode: Option<String>,
    /// `--uts`
    pub uts: Option<String>,
    /// Mounts.
    pub volumes: Vec<Mount>,
    /// `SERVICE[:ro]` or `container:NAME[:ro]`.
    pub volumes_from: Vec<String>,
    /// `--workdir`
    pub working_dir: Option<String>,
    /// Containers that run before it.
    pub pre_start: Vec<PreStart>,
    /// Commands in a container that has started.
    pub post_start: Vec<Hook>,
    /// Commands in a container before it is stopped.
    pub pre_stop: Vec<Hook>,
    /// Keys that begin with `x-`.
    #[serde(flatten)]
    pub extensions: BTreeMap<String, serde_json::Value>,
}

impl Service {
    /// The key that opts in to a restart of what is unhealthy.
    pub const AUTOHEAL: &str = "x-autoheal";

    /// Whether it is restarted when it is unhealthy: by the key, or by the label that the container which is usually run
    /// for this looks for.
    pub fn is_healed(&self) -> bool {
        self.labels.get("autoheal").is_some_and(|value| value == "true")
            || self
                .extensions
                .get(Self::AUTOHEAL)
                .is_some_and(|value| *value == true)
    }

    /// How many containers it has.
    pub fn replicas(&self) -> u32 {
        let of_deploy = self.deploy.as_ref().and_then(|deploy| deploy.replicas);
        let count = self.scale.or(of_deploy).unwrap_or(1);
        u32::try_from(count).unwrap_or(0)
    }

    /// Keys of its networks: those of the highest priority first, then by name.
    pub fn networks_by_priority(&self) -> Vec<&str> {
        let priority = |network: &Option<ServiceNetwork>| {
            network
                .as_ref()
                .and_then(|network| network.priority)
                .unwrap_or(0.0)
        };
        let mut networks: Vec<_> = self.networks.iter().collect();
        // A stable sort: names are in order already.
        networks.sort_by(|one, other| priority(other.1).total_cmp(&priority(one.1)));
        networks.into_iter().map(|(name, _)| name.as_str()).collect()
    }
}

/// What a service waits for.
#[derive(Clone, Debug, Deserialize)]
pub struct Dependency {
    /// Until when.
    pub condition: Condition,
    /// Whether the service is restarted with it.
    #[serde(default)]
    pub restart: bool,
    /// Whether the service cannot do without.
    #[serde(default)]
    pub required: bool,
}

/// Until when a service waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// It has started.
    ServiceStarted,
    /// It is healthy.
    ServiceHealthy,
    /// It has ended with 0.
    ServiceCompletedSuccessfully,
}

/// `healthcheck`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Healthcheck {
    /// No check, also not the one of the image.
    pub disable: bool,
    /// `CMD ...`, `CMD-SHELL ...` or `NONE`; empty is the one of the image.
    pub test: Vec<String>,
    /// Between checks.
    #[serde(deserialize_with = "read::duration")]
    pub interval: Option<Duration>,
    /// For one check.
    #[serde(deserialize_with = "read::duration")]
    pub timeout: Option<Duration>,
    /// How many failures in a row make it unhealthy.
    #[serde(deserialize_with = "read::whole")]
    pub retries: Option<i64>,
    /// In which failures do not count.
    #[serde(deserialize_with = "read::duration")]
    pub start_period: Option<Duration>,
    /// Between checks while it starts.
    #[serde(deserialize_with = "read::duration")]
    pub start_interval: Option<Duration>,
}

/// `logging`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Logging {
    /// The driver.
    pub driver: Option<String>,
    /// Its options.
    pub options: BTreeMap<String, String>,
}

/// A published port.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Port {
    /// A name for people.
    pub name: Option<String>,
    /// `ingress` or `host`: the same on one host.
    pub mode: Option<String>,
    /// The host's address; nothing is every one.
    pub host_ip: Option<String>,
    /// The port in the container.
    pub target: u16,
    /// The host's port, or a range such as `8000-8010`; nothing is any free one.
    pub published: Option<String>,
    /// `tcp`, `udp`.
    pub protocol: Option<String>,
    /// For people.
    pub app_protocol: Option<String>,
}

/// A network of a service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ServiceNetwork {
    /// More names there.
    pub aliases: Vec<String>,
    /// For the driver.
    pub driver_opts: BTreeMap<String, String>,
    /// The network with the highest has the default route.
    #[serde(deserialize_with = "read::number")]
    pub gw_priority: Option<f64>,
    /// Such as `eth1`.
    pub interface_name: Option<String>,
    /// A fixed address.
    pub ipv4_address: Option<String>,
    /// A fixed address.
    pub ipv6_address: Option<String>,
    /// More addresses.
    pub link_local_ips: Vec<String>,
    /// A fixed address.
    pub mac_address: Option<String>,
    /// The highest is joined first.
    #[serde(deserialize_with = "read::number")]
    pub priority: Option<f64>,
}

/// The kind of a mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountType {
    /// A file or folder of the host.
    Bind,
    /// A volume.
    #[default]
    Volume,
    /// Memory.
    Tmpfs,
    /// The files of an image.
    Image,
    /// Windows only.
    Npipe,
    /// Swarm only.
    Cluster,
}

/// A mount.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Mount {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: MountType,
    /// A path of the host, the key of a volume (nothing is an anonymous one), or an image.
    pub source: Option<String>,
    /// The path in the container.
    pub target: String,
    /// Whether it cannot be written.
    pub read_only: bool,
    /// Without meaning on Linux.
    pub consistency: Option<String>,
    /// Of a bind.
    pub bind: MountBind,
    /// Of a volume.
    pub volume: MountVolume,
    /// Of a tmpfs.
    pub tmpfs: MountTmpfs,
    /// Of an image.
    pub image: ImageMount,
}

/// Options of a bind.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct MountBind {
    /// `z` or `Z`.
    pub selinux: Option<String>,
    /// Such as `rslave`.
    pub propagation: Option<String>,
    /// Whether a missing folder of the host is made.
    pub create_host_path: Option<bool>,
    /// `enabled`, `disabled`, `writable` or `readonly`.
    pub recursive: Option<String>,
}

impl MountBind {
    /// Whether a missing folder of the host is made: unless the file says no.
    pub fn creates_host_path(&self) -> bool {
        self.create_host_path.unwrap_or(true)
    }
}

/// Options of a volume.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct MountVolume {
    /// Labels of an anonymous one.
    pub labels: BTreeMap<String, String>,
    /// Whether the image's files are left out.
    pub nocopy: bool,
    /// A folder in it.
    pub subpath: Option<String>,
}

/// Options of a tmpfs.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct MountTmpfs {
    /// In bytes.
    #[serde(deserialize_with = "read::whole")]
    pub size: Option<i64>,
    /// Permission bits.
    #[serde(deserialize_with = "read::mode")]
    pub mode: Option<u32>,
}

/// Options of an image.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ImageMount {
    /// A folder in it.
    pub subpath: Option<String>,
}

/// A secret or config that a service has.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct FileReference {
    /// Its key in the project.
    pub source: String,
    /// The path in the container, or its name in `/run/secrets` and `/`.
    pub target: Option<String>,
    /// The owner.
    pub uid: Option<String>,
    /// The group.
    pub gid: Option<String>,
    /// Permission bits.
    #[serde(deserialize_with = "read::mode")]
    pub mode: Option<u32>,
}

/// `devices`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Device {
    /// The path of the host, or a CDI name.
    pub source: String,
    /// The path in the container.
    pub target: String,
    /// Of `rwm`.
    pub permissions: String,
}

/// A limit: one number for both, or two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Ulimit {
    /// For both.
    Single(i64),
    /// Each.
    Pair {
        /// What counts.
        #[serde(default)]
        soft: i64,
        /// To what a process may raise it.
        #[serde(default)]
        hard: i64,
    },
}

impl Ulimit {
    /// Soft and hard.
    pub fn pair(self) -> (i64, i64) {
        match self {
            Self::Single(both) => (both, both),
            Self::Pair { soft, hard } => (soft, hard),
        }
    }
}

/// `develop`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Develop {
    /// Rules of `watch`.
    pub watch: Vec<Watch>,
}

/// What `watch` does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum WatchAction {
    /// Builds the image and replaces the container.
    #[default]
    #[serde(rename = "rebuild")]
    Rebuild,
    /// Restarts the container.
    #[serde(rename = "restart")]
    Restart,
    /// Copies what changed.
    #[serde(rename = "sync")]
    Sync,
    /// Copies, then restarts.
    #[serde(rename = "sync+restart")]
    SyncRestart,
    /// Copies, then runs a command.
    #[serde(rename = "sync+exec")]
    SyncExec,
}

/// A rule of `watch`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Watch {
    /// Where changes count.
    pub path: String,
    /// What is done.
    pub action: WatchAction,
    /// The path in the container.
    pub target: Option<String>,
    /// The command of `sync+exec`.
    pub exec: Option<Hook>,
    /// Only these.
    pub include: Vec<String>,
    /// Not these, in the language of .dockerignore.
    pub ignore: Vec<String>,
    /// Whether all is copied at the start.
    pub initial_sync: bool,
}

/// A command in a running container.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Hook {
    /// Its words.
    #[serde(deserialize_with = "read::or_default")]
    pub command: Vec<String>,
    /// As whom.
    pub user: Option<String>,
    /// With every right.
    pub privileged: bool,
    /// Where.
    pub working_dir: Option<String>,
    /// More variables.
    pub environment: BTreeMap<String, Option<String>>,
}

/// A container that runs before a service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PreStart {
    /// Its image; nothing is the service's.
    pub image: Option<String>,
    /// Whether it runs once for each container.
    pub per_replica: bool,
    /// Its words.
    #[serde(deserialize_with = "read::or_default")]
    pub command: Vec<String>,
    /// As whom.
    pub user: Option<String>,
    /// With every right.
    pub privileged: bool,
    /// Where.
    pub working_dir: Option<String>,
    /// More variables.
    pub environment: BTreeMap<String, Option<String>>,
}
