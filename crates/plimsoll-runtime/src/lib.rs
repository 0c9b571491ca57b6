//! One process in a rootfs under limits.
//!
//! The door has two leaves. [`Runtime::run_once`] runs a build step to its end by a process of its own
//! ([`runner_main`], the hidden role). [`OciRuntime`], in the form of an [`Engine`], is for whoever lives with a container
//! longer: the shim. Both take a [`ContainerSpec`], what the user asked for in Docker's words, and go the direct path where
//! it leads, else by [`Libcontainer`].
//!
//! | module | what it holds |
//! | --- | --- |
//! | `container_spec` | the request |
//! | `defaults` | Docker's hardening defaults, as data |
//! | `spec` | request -> OCI runtime spec; pure |
//! | `user`, `root` | names and paths inside an image, which is nobody's friend |
//! | `rootfs`, `stubs` | the overlay, and what must not be left in it |
//! | `id_map` | users of a container's own |
//! | `cgroup`, `host`, `warm` | the machine |
//! | `privilege` | ordinary users |
//! | `usage` | what a container uses |
//! | `program`, `own_program` | becoming the program, or saying why not; our own |
//! | `direct` | containers without a library |
//! | `engine` | who makes a container |
//! | `hooks` | programs of the host that are called on the way |
//! | `libcontainer` | the runtime library and what has to be put right around it |
//! | `runner` | the process that runs build steps |
//!
//! Whatever the container does, it ends with the process that made it (PR_SET_PDEATHSIG), and that process has a
//! single thread (see `libcontainer`).

mod cgroup;
mod container_spec;
mod defaults;
mod direct;
mod emulation;
mod engine;
mod error;
mod hooks;
mod host;
mod id_map;
mod libcontainer;
mod own_program;
mod privilege;
mod program;
mod root;
mod rootfs;
mod runner;
mod source;
mod spec;
mod stubs;
mod usage;
mod user;
mod warm;

use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;
use std::path::Path;

pub use cgroup::{enter_own_scope, place_of_group};
pub use container_spec::{
    ContainerSpec, Device, DeviceRate, ImageTree, Ipc, Mount, MountKind, NetworkNamespace, Resources,
    Seccomp, Sharing, SystemPaths, Ulimit,
};
pub use emulation::Emulator;
pub use engine::Engine;
pub use error::RuntimeError;
pub use hooks::{Hook, HookStage};
pub use id_map::{IdMap, IdRange};
pub use libcontainer::Libcontainer;
pub use own_program::{ReadOnlyProgram, read_only_program};
pub use root::{Resolved, Root};
pub use rootfs::{Rootfs, enter_private_mounts, try_overlay};
pub use runner::{Backing, Finished, RunOnce, Runtime, SecretFile, Stream, View, runner_main};
pub use source::{BENEATH, copy_of_source};
pub use usage::{ControlGroup, Usage};
pub use user::{UserError, user_ids};
pub use warm::warm_control_groups;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// By itself.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

impl Exit {
    /// 128+n for a signal.
    pub fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

/// What a process reads and writes.
pub enum Stdio {
    /// Pipes or /dev/null.
    Pipes {
        /// What it reads.
        stdin: OwnedFd,
        /// What it writes.
        stdout: OwnedFd,
        /// Where it complains.
        stderr: OwnedFd,
    },
    /// A new terminal; its master is sent over this socket as OCI runtimes do (SCM_RIGHTS).
    Console(OwnedFd),
}

/// A container ready to be created.
pub struct Bundle<'a> {
    /// What the user asked for.
    pub spec: &'a ContainerSpec,
    /// The root file system, which is mounted for as long as the container is there.
    pub rootfs: &'a Rootfs,
    /// Whether changes may be lost when the machine stops at once: right where they are thrown away anyhow.
    pub volatile: bool,
    /// Folder of the runtime's own state, below run/containers/<12 hex>; it must exist.
    pub state: &'a Path,
    /// Folder in which compiled filters are kept for the next container.
    pub filters: &'a Path,
    /// For [`NetworkNamespace::Given`] and its kin.
    pub joined: &'a Namespaces,
    /// Of the first process.
    pub stdio: Stdio,
}

/// Namespaces of others that a container joins.
#[derive(Debug, Default)]
pub struct Namespaces {
    /// Its network.
    pub network: Option<OwnedFd>,
    /// Its processes.
    pub pid: Option<OwnedFd>,
    /// Its System V objects and message queues.
    pub ipc: Option<OwnedFd>,
    /// The mounts of whose /dev/shm it has.
    pub mounts: Option<OwnedFd>,
    /// Users, joined last: for a build step whose programs are emulated.
    pub user: Option<OwnedFd>,
}

/// A further process in a running container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// Program and arguments.
    pub args: Vec<String>,
    /// As [`ContainerSpec::env`]; the container's own is not added.
    pub env: Vec<String>,
    /// Absolute; must exist. Empty is `/`.
    pub cwd: String,
    /// As [`ContainerSpec::user`].
    pub user: String,
    /// Whether it gets a terminal; then the stdio must be a console.
    pub tty: bool,
    /// All capabilities.
    pub privileged: bool,
}

/// Only called in a process with one thread. After `create` the init is a direct child of the caller, so the caller
/// waits for it.
pub trait OciRuntime {
    /// Makes the container up to the point before its program runs; returns init's pid.
    fn create(&mut self, bundle: Bundle<'_>) -> Result<i32, RuntimeError>;
    /// Lets the program run. A program that cannot be executed or found is an error here: see
    /// [`RuntimeError::exit_code`]; then init has been waited for.
    fn start(&mut self) -> Result<(), RuntimeError>;
    /// Returns the pid, a direct child; the caller waits for it. A program that does not start is an error, and has
    /// been waited for.
    fn exec(&mut self, process: &ProcessSpec, stdio: Stdio) -> Result<i32, RuntimeError>;
    /// Signals init, or with `all` every process of the cgroup.
    fn kill(&mut self, signal: i32, all: bool) -> Result<(), RuntimeError>;
    /// Changes the limits of the group; returns what could not be had.
    fn update(&mut self, resources: &Resources) -> Result<Vec<String>, RuntimeError>;
    /// Stops every process where it is, or lets all go on.
    fn freeze(&mut self, frozen: bool) -> Result<(), RuntimeError>;
    /// What was asked for and could not be given: limits held down, capabilities left out.
    fn warnings(&self) -> &[String];
    /// True if the kernel killed a process of this container for memory. Ask before `delete`.
    fn oom_killed(&self) -> bool;
    /// Kills what is left, waits for init where the caller has not, removes cgroup and state.
    fn delete(&mut self) -> Result<(), RuntimeError>;
}
