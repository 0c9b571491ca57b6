//! One process in a rootfs under limits.
#![allow(missing_docs)]
use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// What the user asked for, in Docker's words; resolved against the image's defaults by the caller.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// 64 hex digits.
    pub id: String,
    pub hostname: String,
    /// Entrypoint and command joined. Never empty.
    pub args: Vec<String>,
    pub env: Vec<String>,
    /// Absolute; made when it does not exist.
    pub cwd: String,
    /// `user[:group]` as in USER; looked up in the root's passwd and group.
    pub user: String,
    pub group_add: Vec<String>,
    pub tty: bool,
    pub read_only: bool,
    pub mounts: Vec<Mount>,
    pub cap_add: Vec<String>,
    pub cap_drop: Vec<String>,
    pub privileged: bool,
    pub no_new_privileges: bool,
    pub seccomp: Seccomp,
    pub resources: Resources,
    pub ulimits: Vec<Ulimit>,
    pub sysctls: BTreeMap<String, String>,
    /// Bytes of /dev/shm; 0 is Docker's 64 MiB.
    pub shm_size: u64,
    pub network: NetworkNamespace,
    /// Absolute cgroup path: `/plimsoll-<instance>/<id>`.
    pub cgroup: String,
    /// Anything else (init, devices, group ids) is added by the issue that needs it.
    pub annotations: BTreeMap<String, String>,
}
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Mount { pub kind: MountKind, /// Host path of a bind; ignored for tmpfs.
    pub source: PathBuf, /// Absolute path in the container.
    pub target: PathBuf, pub read_only: bool, /// Extra mount options as Docker's --tmpfs takes them: `size=64m`, `mode=1777`, `noexec`.
    pub options: Vec<String> }
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountKind { Bind, Tmpfs }
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp { #[default] Default, Unconfined, /// Text of a profile in Docker's JSON form.
    Profile(String) }
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkNamespace { /// A new, empty one with loopback up.
    #[default] None, Host, /// The namespace whose descriptor comes with the request.
    Given }
/// Zero or None is unlimited.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Resources { /// Bytes.
    pub memory: Option<i64>, /// Memory plus swap, bytes; -1 unlimited.
    pub memory_swap: Option<i64>, pub memory_reservation: Option<i64>, /// Billionths of a CPU.
    pub nano_cpus: Option<i64>, pub cpu_shares: Option<u64>, pub cpuset_cpus: String, pub pids_limit: Option<i64> }
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ulimit { pub name: String, pub soft: u64, pub hard: u64 }

/// The overlay to mount as root.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rootfs { /// Layer directories, top first; may be empty (FROM scratch).
    pub lowers: Vec<PathBuf>, pub upper: PathBuf, pub work: PathBuf }
impl Rootfs {
    /// Mounts it at `target` in the calling process's mount namespace.
    pub fn mount(&self, target: &Path) -> Result<(), RuntimeError> { let _ = target; unimplemented!() }
}

#[derive(Debug, thiserror::Error)]
pub enum RuntimeError { #[error("io")] Io(#[from] std::io::Error) }

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit { Code(i32), Signal(i32) }
impl Exit { /// 128+n for a signal.
    pub fn code(self) -> i32 { match self { Self::Code(code) => code, Self::Signal(signal) => 128 + signal } } }

/// What a process reads and writes.
pub enum Stdio { /// Pipes or /dev/null.
    Pipes { stdin: OwnedFd, stdout: OwnedFd, stderr: OwnedFd }, /// A new terminal; its master is sent over this socket as OCI runtimes do (SCM_RIGHTS).
    Console(OwnedFd) }

/// A container ready to be created.
pub struct Bundle<'a> { pub spec: &'a ContainerSpec, /// Mounted root file system.
    pub rootfs: &'a Path, /// Folder of the runtime's own state, below run/containers/<12 hex>.
    pub state: &'a Path, /// For `NetworkNamespace::Given`.
    pub netns: Option<&'a OwnedFd>, pub stdio: Stdio }
/// A further process in a running container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProcessSpec { pub args: Vec<String>, pub env: Vec<String>, pub cwd: String, pub user: String, pub tty: bool, pub privileged: bool }

/// Only called in a process with one thread. After `create` the init is a direct child of the caller (as_sibling), so the caller waits for it.
pub trait OciRuntime {
    /// Makes the container up to the point before its program runs; returns init's pid.
    fn create(&mut self, bundle: Bundle<'_>) -> Result<i32, RuntimeError>;
    /// Lets the program run. A program that cannot be executed or found is an error here: see [`RuntimeError::exit_code`].
    fn start(&mut self) -> Result<(), RuntimeError>;
    /// Returns the pid; the caller waits for it.
    fn exec(&mut self, process: &ProcessSpec, stdio: Stdio) -> Result<i32, RuntimeError>;
    /// Signals init, or with `all` every process of the cgroup.
    fn kill(&mut self, signal: i32, all: bool) -> Result<(), RuntimeError>;
    /// True if the kernel killed a process of this container for memory.
    fn oom_killed(&self) -> bool;
    /// Kills what is left, removes cgroup and state.
    fn delete(&mut self) -> Result<(), RuntimeError>;
}
impl RuntimeError { /// Docker's code for a container that never started: 126 cannot execute, 127 not found, 125 otherwise.
    pub fn exit_code(&self) -> i32 { 125 } }

/// One build step, run to its end by a runner process.
pub struct RunOnce { pub spec: ContainerSpec, pub rootfs: Rootfs, pub netns: Option<OwnedFd> }
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream { Stdout, Stderr }
/// Starts runner processes: `program runner`, the hidden role.
#[derive(Clone, Debug)]
pub struct Runtime { pub program: PathBuf, /// Scratch folder for state, below run/.
    pub run: Utf8PathBuf }
impl Runtime {
    /// Runs to the end; dropping the future kills everything. Mount points the runtime had to make in `upper` are gone afterwards.
    pub async fn run_once(&self, request: RunOnce, output: &mut (dyn FnMut(Stream, &[u8]) + Send)) -> Result<Exit, RuntimeError> { let _ = (request, output); unimplemented!() }
}
/// The hidden role `plimsoll runner`, chosen at the top of main, before any thread.
pub fn runner_main() -> i32 { unimplemented!() }
