//! What the command line says about every RUN.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use plimsoll_runtime::{Resources, Ulimit};
use plimsoll_store::SnapshotId;

/// What the command line says about every RUN. None of it decides a cache key.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// `--secret`, by id.
    pub secrets: BTreeMap<String, Secret>,
    /// `--ssh`: sockets of agents, by id.
    pub ssh: BTreeMap<String, PathBuf>,
    /// `--ulimit`.
    pub ulimits: Vec<Ulimit>,
    /// `--resource`.
    pub resources: Resources,
    /// `--shm-size` in bytes; 0 is the default of 64 MiB.
    pub shm_size: u64,
    /// `--cgroup-parent`.
    pub cgroup_parent: Option<String>,
    /// Where emulators for other processors are looked for first: `PATH`.
    pub emulators: Vec<PathBuf>,
    /// `--allow network.host`.
    pub allow_host_network: bool,
    /// `--allow security.insecure`.
    pub allow_insecure: bool,
    /// Where what the first step that fails leaves is put, if anybody wants it.
    pub wreck: Option<Arc<OnceLock<Wreck>>>,
}

/// What a step that failed leaves: enough to look around in it.
#[derive(Clone, Debug)]
pub struct Wreck {
    /// The files as they were.
    pub snapshot: SnapshotId,
    /// Its environment, without secrets.
    pub env: Vec<String>,
    /// Its directory.
    pub cwd: String,
    /// As in USER.
    pub user: String,
    /// Directories that it had as caches, and where.
    pub caches: Vec<(PathBuf, PathBuf)>,
}

/// A value that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes the value.
    pub fn new(value: impl Into<Vec<u8>>) -> Self {
        Self(value.into())
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}
