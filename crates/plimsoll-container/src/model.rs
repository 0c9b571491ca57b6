//! What is known of a container: its definition, fixed when it is made, and its state, written by its shim.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use plimsoll_network::{Endpoint, PortRequest, PublishedPort, Resolver};
use plimsoll_runtime::{ContainerSpec, ImageTree, Rootfs};
use plimsoll_store::SnapshotId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::given::FilePlace;
use crate::isolation::Isolation;
use crate::log::{Format, LogConfig};
use crate::restart::RestartPolicy;
use crate::{ContainerError, Result};

/// `spec.json`: everything about a container that does not change by itself, except its name. `update` replaces it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Definition {
    /// 64 hexadecimal digits.
    pub id: String,
    /// When it was made.
    pub created: Timestamp,
    /// The image, as it was asked for.
    pub image: String,
    /// The image's id (`sha256:...`).
    pub image_id: String,
    /// Platform of the image, for `inspect`.
    pub platform: String,
    /// What the runtime gets; mounts of hosts, resolv.conf and hostname included.
    pub spec: ContainerSpec,
    /// What it shares, and with whom.
    #[serde(default)]
    pub isolation: Isolation,
    /// The layers below it and its own.
    pub rootfs: Rootfs,
    /// Its own layer.
    pub snapshot: SnapshotId,
    /// Names the root's bridges, cgroups and nft tables.
    pub instance: u32,
    /// Program prefix, apart from `command` for `inspect` only.
    pub entrypoint: Option<Vec<String>>,
    /// Command or arguments.
    pub command: Vec<String>,
    /// User as asked or from the image.
    pub labels: BTreeMap<String, String>,
    /// Ports the image or user names, `80/tcp`.
    pub exposed_ports: Vec<String>,
    /// Kind of network.
    pub network: NetworkMode,
    /// What to publish at each start.
    pub ports: Vec<PortRequest>,
    /// Publish all exposed ports, `inspect` says.
    pub publish_all: bool,
    /// Where it looks for names.
    pub resolver: Resolver,
    /// Other containers and what they are called in this one.
    pub links: Vec<(String, String)>,
    /// More lines for `/etc/hosts`: name and address.
    pub extra_hosts: Vec<(String, String)>,
    /// Volumes and binds, for `inspect` and `rm -v`.
    pub mounts: Vec<MountPoint>,
    /// Number of the signal that asks it to end, and how it was written.
    pub stop_signal: StopSignal,
    /// Seconds between that signal and SIGKILL, if somebody said so.
    pub stop_timeout: Option<u64>,
    /// How to ask it whether it is well.
    pub health: Option<HealthCheck>,
    /// Removed when it ends.
    pub auto_remove: bool,
    /// Standard input stays open while nobody is attached.
    pub open_stdin: bool,
    /// Who made it wanted to see and type, for `inspect`.
    #[serde(default)]
    pub attached: Attached,
    /// What happens when its program has ended.
    pub restart: RestartPolicy,
    /// Where its output is kept.
    pub log: LogConfig,
    /// What `--domainname` said.
    pub domainname: String,
    /// Secrets and configurations it was given.
    #[serde(default)]
    pub files: Vec<FilePlace>,
    /// What it was made from, for whoever made it.
    #[serde(default)]
    pub origin: Option<serde_json::Value>,
}

impl Definition {
    /// Seconds between the signal to stop and SIGKILL.
    pub(crate) fn grace(&self) -> u64 {
        self.stop_timeout.unwrap_or(10)
    }
}

/// Which standard streams are those of the command that starts a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// Input.
    pub stdin: bool,
    /// Output.
    pub stdout: bool,
    /// Error output.
    pub stderr: bool,
}

/// What `--network` says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// The default bridge.
    #[default]
    Bridge,
    /// The host's own network.
    Host,
    /// Loopback only.
    None,
    /// The network of another container.
    Container(String),
    /// A network somebody made, by name or id.
    User(String),
}

/// Docker's words.
impl std::fmt::Display for NetworkMode {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bridge => formatter.write_str("bridge"),
            Self::Host => formatter.write_str("host"),
            Self::None => formatter.write_str("none"),
            Self::Container(id) => write!(formatter, "container:{id}"),
            Self::User(name) => formatter.write_str(name),
        }
    }
}

/// A signal and the word it was asked by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopSignal {
    /// As written: `SIGTERM`, `15`.
    pub name: String,
    /// Its number.
    pub number: i32,
}

/// A line of `Mounts` in `inspect`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPoint {
    /// A volume's name; None for a bind.
    pub volume: Option<String>,
    /// A volume nobody named: `rm -v` removes it.
    pub anonymous: bool,
    /// On the host.
    pub source: Utf8PathBuf,
    /// In the container.
    pub target: Utf8PathBuf,
    /// Whether the container may write.
    pub writable: bool,
    /// How it is bound: a kind of propagation such as `rslave`, `bind` for without what is mounted below.
    #[serde(default)]
    pub options: Vec<String>,
    /// The files of an image; `source` is the folder of the layer that lies on them for this mount.
    #[serde(default)]
    pub image: Option<ImagePoint>,
}

/// What of an image is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImagePoint {
    /// The image, as it was asked for.
    pub name: String,
    /// Its layers and the part of them.
    pub tree: ImageTree,
}

impl MountPoint {
    /// The folder of its volume, where it is a part of one: what other containers have made of the path to it since then
    /// must lead nowhere else.
    pub(crate) fn beneath(&self) -> Option<&Path> {
        let folder = Path::new(self.volume.as_deref()?).join("_data");
        let above = self.source.as_std_path().ancestors().skip(1);
        // The outermost: what lies in it may be called alike.
        above.filter(|path| path.ends_with(&folder)).last()
    }
}

/// A health check with nothing left open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// As the image has it: `["CMD", ...]` or `["CMD-SHELL", text]`.
    pub test: Vec<String>,
    /// What is executed.
    pub args: Vec<String>,
    /// Between two probes.
    pub interval: Duration,
    /// For one probe.
    pub timeout: Duration,
    /// Failures do not count in this time.
    pub start_period: Duration,
    /// Between two probes in that time.
    pub start_interval: Duration,
    /// Failures in a row that make it unhealthy.
    pub retries: u32,
    /// What happens then.
    pub on_failure: OnFailure,
}

/// What happens to a container that has become unhealthy; the words are Podman's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// It is only said.
    #[default]
    None,
    /// It is killed, and the restart policy decides.
    Kill,
    /// It is stopped and started again, whatever the policy.
    Restart,
    /// It is stopped.
    Stop,
}

/// Where a container is in its life, in Docker's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Made, never started or failed to.
    #[default]
    Created,
    /// Its program runs.
    Running,
    /// Its processes are frozen.
    Paused,
    /// Its program has ended and will be started again.
    Restarting,
    /// Its program has ended.
    Exited,
    /// Its files are damaged; it can only be removed.
    Dead,
}

impl Status {
    /// Returns whether a supervisor is at it: Docker calls all of these running.
    pub fn is_alive(self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::Restarting)
    }

    /// Returns Docker's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }
}

/// `state.json`: what the shim knows, replaced as a whole at each change.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Where it is in its life.
    pub status: Status,
    /// Process id of the program on the host; 0 when none.
    pub pid: i32,
    /// How it ended.
    pub exit_code: i32,
    /// Why it could not be started, or what else went wrong.
    pub error: String,
    /// The kernel killed a process of it for memory.
    pub oom_killed: bool,
    /// How often it was started again by itself since somebody started it.
    pub restart_count: u32,
    /// Somebody stopped it: it stays so.
    pub stopped_by_user: bool,
    /// Lines of its output there was no room for (`mode=non-blocking`).
    pub log_dropped: u64,
    /// Its supervisor was killed, and its restart policy wants it started.
    pub restart_due: bool,
    /// Its supervisor was asked to end, as at a shutdown: [`crate::Containers::restore`] starts it.
    pub suspended: bool,
    /// Made with `--rm` and about to be started again: it is not removed though it has ended.
    pub kept: bool,
    /// Last start.
    pub started_at: Option<Timestamp>,
    /// Last end.
    pub finished_at: Option<Timestamp>,
    /// None without a health check.
    pub health: Option<Health>,
    /// Its places on networks while it runs.
    pub endpoints: Vec<Endpoint>,
    /// Ports it has on the host while it runs.
    pub ports: Vec<PublishedPort>,
    /// Those it had when it last ran.
    pub last_ports: Vec<PublishedPort>,
}

/// What the probes said, in the fields of Docker's `State.Health`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Health {
    /// starting, healthy or unhealthy.
    pub status: HealthStatus,
    /// Failures in a row.
    pub failing_streak: u32,
    /// The last five probes, oldest first.
    pub log: Vec<Probe>,
}

/// See [`Health`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// Not known yet.
    #[default]
    Starting,
    /// The last probe, or one of the last, succeeded.
    Healthy,
    /// Too many failed in a row.
    Unhealthy,
}

impl HealthStatus {
    /// Returns Docker's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// One probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Probe {
    /// When it began.
    pub start: Timestamp,
    /// When it ended or was ended.
    pub end: Timestamp,
    /// Its exit code; -1 when it was ended.
    pub exit_code: i32,
    /// Up to 4096 bytes of what it wrote.
    pub output: String,
}

/// Where a container's files are.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    /// `containers/<id>` below the root: what outlives a reboot.
    pub(crate) home: Utf8PathBuf,
    /// `containers/<12 hex>` below the run-time folder: what does not.
    pub(crate) run: Utf8PathBuf,
}

impl Paths {
    pub(crate) fn new(root: &Utf8Path, run: &Utf8Path, id: &str) -> Self {
        let short = &id[..id.len().min(12)];
        Self {
            home: root.join("containers").join(id),
            run: run.join("containers").join(short),
        }
    }

    pub(crate) fn definition(&self) -> Utf8PathBuf {
        self.home.join("spec.json")
    }

    pub(crate) fn state(&self) -> Utf8PathBuf {
        self.home.join("state.json")
    }

    pub(crate) fn log(&self, format: Format) -> Utf8PathBuf {
        self.home.join(match format {
            Format::Json => "json.log",
            Format::Local => "local.log",
        })
    }

    pub(crate) fn hosts(&self) -> Utf8PathBuf {
        self.home.join("hosts")
    }

    pub(crate) fn resolv_conf(&self) -> Utf8PathBuf {
        self.home.join("resolv.conf")
    }

    pub(crate) fn hostname(&self) -> Utf8PathBuf {
        self.home.join("hostname")
    }

    pub(crate) fn lock(&self) -> Utf8PathBuf {
        self.run.join("lock")
    }

    pub(crate) fn runtime(&self) -> Utf8PathBuf {
        self.run.join("runtime")
    }

    pub(crate) fn shim_log(&self) -> Utf8PathBuf {
        self.run.join("shim.log")
    }

    /// Returns whether a shim holds the lock, which is what says that it lives.
    pub(crate) fn is_supervised(&self) -> bool {
        use rustix::fs::{FlockOperation, flock};
        let Ok(file) = fs::File::open(self.lock()) else {
            return false;
        };
        matches!(
            flock(&file, FlockOperation::NonBlockingLockShared),
            Err(rustix::io::Errno::WOULDBLOCK)
        )
    }

    /// Waits until no shim holds the lock.
    pub(crate) fn wait_unsupervised(&self) -> io::Result<()> {
        use rustix::fs::{FlockOperation, flock};
        match fs::File::open(self.lock()) {
            Ok(file) => Ok(flock(&file, FlockOperation::LockShared)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn read_state(&self) -> Result<State> {
        Ok(read_json(self.state().as_std_path())?.unwrap_or_default())
    }

    pub(crate) fn write_state(&self, state: &State) -> Result<()> {
        write_json(self.state().as_std_path(), state)
    }
}

/// Reads a JSON file; None when there is none.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .map_err(|source| ContainerError::Damaged {
                path: path.to_owned(),
                source,
            }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ContainerError::file("read", path)(error)),
    }
}

/// Replaces a file as a whole: a reader sees the old or the new one.
pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let write = || {
        let temporary = path.with_extension("json.new");
        let mut file = fs::File::create(&temporary)?;
        file.write_all(&serde_json::to_vec(value)?)?;
        drop(file);
        fs::rename(&temporary, path)
    };
    write().map_err(ContainerError::file("write", path))
}
