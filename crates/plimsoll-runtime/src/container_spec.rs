//! What the user asked for, in Docker's words.

use crate::RuntimeError;
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
    /// All capabilities, no seccomp filter, nothing masked, any device number.
    pub privileged: bool,
    /// Whether set-user-id programs and file capabilities are without effect.
    pub no_new_privileges: bool,
    /// The system call filter.
    pub seccomp: Seccomp,
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
    /// Absolute cgroup path: `/plimsoll-<instance>/<id>`.
    pub cgroup: String,
    /// Kept in the OCI spec as they are.
    pub annotations: BTreeMap<String, String>,
}

impl ContainerSpec {
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
    /// Extra mount options as Docker's --tmpfs takes them: `size=64m`, `mode=1777`, `noexec`.
    pub options: Vec<String>,
}

/// The kind of a [`Mount`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountKind {
    /// A file or directory of the host.
    Bind,
    /// Memory.
    Tmpfs,
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

/// Limits of the cgroup. Zero or None is unlimited.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
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
    /// CPUs to run on: `0-2,5`; empty is any.
    pub cpuset_cpus: String,
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
