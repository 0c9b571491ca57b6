//! What the user asked for, in Docker's words.

use crate::hooks::Hook;
use crate::id_map::IdMap;
use crate::{Rootfs, RuntimeError, defaults};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What the user asked for, in Docker's words; resolved against the image's defaults by the caller.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerSpec {
    /// 64 hex digits.
    pub id: String,
    /// Name in the container's own UTS namespace; empty means the first twelve digits of `id`.
    pub hostname: String,
    /// Entrypoint and command joined. Never empty.
    pub args: Vec<String>,
    /// `NAME=value`; the runtime puts PATH, HOSTNAME, TERM and HOME under it, and a bare `NAME` takes one away.
    pub env: Vec<String>,
    /// Absolute; made when it does not exist.
    pub cwd: String,
    /// `user[:group]` as in USER; looked up in the root's passwd and group.
    pub user: String,
    /// Whether a user that turns out to be root is refused.
    pub non_root: bool,
    /// Further groups, by name or number.
    pub group_add: Vec<String>,
    /// Whether the process gets a terminal.
    pub tty: bool,
    /// Whether the root file system is read-only.
    pub read_only: bool,
    /// What is mounted beside the defaults; an entry replaces the default of the same target.
    pub mounts: Vec<Mount>,
    /// Capabilities beside the default ones, with or without `CAP_`; `ALL` is all.
    pub cap_add: Vec<String>,
    /// Capabilities taken away, with or without `CAP_`; `ALL` is all but the added ones.
    pub cap_drop: Vec<String>,
    /// All capabilities, no seccomp filter, nothing masked, any device.
    pub privileged: bool,
    /// Whether set-user-id programs and file capabilities are without effect.
    pub no_new_privileges: bool,
    /// The system call filter.
    pub seccomp: Seccomp,
    /// Whether /proc and /sys are shown whole.
    pub system_paths: SystemPaths,
    /// Profile of AppArmor; empty is the one of whoever makes the container.
    pub apparmor: String,
    /// Limits of the cgroup.
    pub resources: Resources,
    /// Limits of each process.
    pub ulimits: Vec<Ulimit>,
    /// Kernel parameters of the container's own namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Bytes of /dev/shm; 0 is Docker's 64 MiB.
    pub shm_size: u64,
    /// Which network the container sees.
    pub network: NetworkNamespace,
    /// Whose processes it sees.
    pub pid: Sharing,
    /// Whose System V objects, message queues and shared memory.
    pub ipc: Ipc,
    /// Whose host name.
    pub uts: Sharing,
    /// Whose control groups.
    pub cgroupns: Sharing,
    /// Who its users are on the host; None is themselves.
    pub userns: Option<IdMap>,
    /// Whether libcontainer makes it even where the direct path leads.
    pub by_library: bool,
    /// Whether a process of ours is the first one, which reaps and forwards signals.
    pub init: bool,
    /// How readily the kernel kills it for want of memory, -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// Device nodes beside the usual ones.
    pub devices: Vec<Device>,
    /// More devices whose use is allowed, without a node: `c 42:* rmw`.
    pub device_rules: Vec<String>,
    /// Absolute cgroup path: `/plimsoll-<instance>/<id>`.
    pub cgroup: String,
    /// Kept in the OCI spec as they are.
    pub annotations: BTreeMap<String, String>,
    /// What mounts of the kind [`MountKind::Image`] show.
    pub images: Vec<ImageTree>,
    /// Programs of the host that are called on its way.
    pub hooks: Vec<Hook>,
}

/// The files of an image, or a part of them, to be mounted beside the root; nobody writes to them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageTree {
    /// Its layers; `upper` stays empty, and is the source of the mount.
    pub rootfs: Rootfs,
    /// Only this, relative to its root; no link is followed on the way.
    pub part: Option<PathBuf>,
}

impl ContainerSpec {
    /// Returns the paths of /proc and /sys that are covered, and those that are read-only.
    pub fn covered_paths(&self) -> (&'static [&'static str], &'static [&'static str]) {
        if self.privileged || self.system_paths == SystemPaths::Unconfined {
            return (&[], &[]);
        }
        (defaults::MASKED_PATHS, defaults::READ_ONLY_PATHS)
    }

    /// The id names a folder that is removed at the end: it must be a name, and no way out.
    pub(crate) fn check_id(&self) -> Result<(), RuntimeError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-".contains(&byte);
        if self.id.is_empty() || !self.id.bytes().all(plain) {
            return Err(RuntimeError::Invalid(format!(
                "invalid container id `{}`",
                self.id
            )));
        }
        Ok(())
    }
}

/// One mount the user or the caller asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// What is mounted.
    pub kind: MountKind,
    /// Host path of a bind; ignored for tmpfs.
    pub source: PathBuf,
    /// Absolute path in the container.
    pub target: PathBuf,
    /// Whether it cannot be written.
    pub read_only: bool,
    /// Extra mount options as Docker's --tmpfs takes them: `size=64m`, `mode=1777`, `noexec`; of a bind also `idmap`: where
    /// the container has users of its own, owners on disk are whom they are in the container.
    pub options: Vec<String>,
}

/// The kind of a [`Mount`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountKind {
    /// A file or directory of the host.
    Bind,
    /// Memory.
    Tmpfs,
    /// The one of [`ContainerSpec::images`] whose upper folder is the source.
    Image,
}

/// The system call filter of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    /// Docker's default profile.
    #[default]
    Default,
    /// None at all.
    Unconfined,
    /// Text of a profile in Docker's JSON form.
    Profile(String),
}

/// The network a container sees.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkNamespace {
    /// A new, empty one with loopback up.
    #[default]
    None,
    /// The caller's.
    Host,
    /// The namespace whose descriptor comes with the request.
    Given,
}

/// Whether a container has something of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sharing {
    /// It has.
    #[default]
    Own,
    /// It is the caller's.
    Host,
    /// It is another container's, whose namespace comes with the request ([`crate::Namespaces`]).
    Given,
}

/// `--ipc`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ipc {
    /// Its own.
    #[default]
    Own,
    /// Its own, without /dev/shm.
    NoShm,
    /// The host's.
    Host,
    /// Another container's, with its /dev/shm.
    Given,
}

/// What of /proc and /sys is covered or read-only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SystemPaths {
    /// As with Docker.
    #[default]
    Confined,
    /// Nothing.
    Unconfined,
}

/// A device of the host in the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Absolute path in the container.
    pub path: PathBuf,
    /// Whether it is a block device.
    pub block: bool,
    /// Its number.
    pub major: u32,
    /// Its number.
    pub minor: u32,
    /// Permission bits of the node.
    pub mode: u32,
    /// Owner of the node.
    pub uid: u32,
    /// Group of the node.
    pub gid: u32,
    /// What may be done: some of `r`, `w`, `m`.
    pub access: String,
}

/// A limit of one block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRate {
    /// Number of the device.
    pub major: u32,
    /// Number of the device.
    pub minor: u32,
    /// Bytes or operations a second, or a weight.
    pub value: u64,
}

/// Limits of the cgroup. Zero or None is unlimited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Bytes.
    pub memory: Option<i64>,
    /// Memory plus swap, bytes; -1 unlimited. None is twice the memory, as with Docker.
    pub memory_swap: Option<i64>,
    /// Bytes the kernel tries to leave when memory is short.
    pub memory_reservation: Option<i64>,
    /// Billionths of a CPU.
    pub nano_cpus: Option<i64>,
    /// Relative weight, 2 to 262144; 1024 is usual.
    pub cpu_shares: Option<u64>,
    /// Microseconds of CPU time in each period; instead of `nano_cpus`.
    pub cpu_quota: Option<i64>,
    /// Microseconds of a period; None is 100 000.
    pub cpu_period: Option<u64>,
    /// Microseconds in each period in which its real-time tasks may run; only cgroup v1 has it.
    pub cpu_rt_runtime: Option<i64>,
    /// Microseconds of such a period.
    pub cpu_rt_period: Option<u64>,
    /// CPUs to run on: `0-2,5`; empty is any.
    pub cpuset_cpus: String,
    /// Memory nodes to use; empty is any.
    pub cpuset_mems: String,
    /// How readily pages are swapped out, 0 to 100; only cgroup v1 has it.
    pub memory_swappiness: Option<u64>,
    /// Whether processes wait instead of being killed for want of memory; only cgroup v1 has it.
    pub oom_kill_disable: bool,
    /// Relative weight of reading and writing, 10 to 1000.
    pub blkio_weight: Option<u16>,
    /// The same for one device.
    pub blkio_weight_device: Vec<DeviceRate>,
    /// Most bytes a second that are read.
    pub device_read_bps: Vec<DeviceRate>,
    /// Most bytes a second that are written.
    pub device_write_bps: Vec<DeviceRate>,
    /// Most reads a second.
    pub device_read_iops: Vec<DeviceRate>,
    /// Most writes a second.
    pub device_write_iops: Vec<DeviceRate>,
    /// Most processes and threads.
    pub pids_limit: Option<i64>,
}

/// One `--ulimit`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// Docker's name: `nofile`.
    pub name: String,
    /// The limit in force; `u64::MAX` is none.
    pub soft: u64,
    /// How far the process may raise it.
    pub hard: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_plain_name() {
        let check = |id: &str| {
            ContainerSpec {
                id: id.into(),
                ..ContainerSpec::default()
            }
            .check_id()
            .is_ok()
        };
        assert!(check("0123abc") && check("build-1_2"));
        assert!(!["", ".", "..", "a/b", "/a", "a b"].into_iter().any(check));
    }
}
