//! What a step sees beside its root and the host's files: views of other images, and secrets in memory.
//!
//! All of it is made in the runner's own mount namespace and ends with the runner, however that ends.

use crate::RuntimeError;
use crate::container_spec::{ContainerSpec, Mount, MountKind};
use crate::rootfs::Rootfs;
use rustix::fs::{CWD, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What the runner makes for one run before the container.
#[derive(Default, Serialize, Deserialize)]
pub struct Backing {
    /// Mounted for binds of the specification to name.
    pub views: Vec<View>,
    /// Files that exist in memory only.
    pub secrets: Vec<SecretFile>,
    /// `NAME=value`, beside the specification's environment; never written to a disk.
    pub secret_env: Vec<String>,
}

/// Another root file system, mounted beside the container's.
#[derive(Serialize, Deserialize)]
pub struct View {
    /// An empty directory.
    pub target: PathBuf,
    /// What is mounted there; what is written goes to its upper directory, which is the caller's to throw away.
    pub rootfs: Rootfs,
}

/// A file for the container that no disk ever holds.
#[derive(Serialize, Deserialize)]
pub struct SecretFile {
    /// Absolute path in the container.
    pub target: PathBuf,
    /// What is in it.
    pub data: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

impl Backing {
    /// Whether nothing has to be made.
    pub(super) fn is_empty(&self) -> bool {
        self.views.is_empty() && !self.is_secret()
    }

    fn is_secret(&self) -> bool {
        !self.secrets.is_empty() || !self.secret_env.is_empty()
    }

    /// Mounts everything and returns the specification with what it needs. With secrets the folder `state` turns to
    /// memory, since the runtime library writes the specification there.
    pub(super) fn attach(&self, spec: &ContainerSpec, state: &Path) -> Result<ContainerSpec, RuntimeError> {
        let mut spec = spec.clone();
        for view in &self.views {
            view.rootfs.mount(&view.target)?;
        }
        if self.is_secret() {
            mount_memory(state).map_err(RuntimeError::path("mount memory at", state))?;
        }
        for (number, secret) in self.secrets.iter().enumerate() {
            let source = state.join(format!("secret-{number}"));
            secret
                .write(&source)
                .map_err(RuntimeError::path("write", &source))?;
            spec.mounts.push(Mount {
                kind: MountKind::Bind,
                source,
                target: secret.target.clone(),
                read_only: true,
                options: Vec::new(),
            });
        }
        spec.env.extend(self.secret_env.iter().cloned());
        Ok(spec)
    }

    /// Gives the folder `state` back.
    pub(super) fn detach(&self, state: &Path) -> Result<(), RuntimeError> {
        if !self.is_secret() {
            return Ok(());
        }
        match unmount(state, UnmountFlags::DETACH) {
            // Nothing is mounted there when attaching failed before.
            Err(Errno::INVAL) => Ok(()),
            result => result.map_err(RuntimeError::path("unmount", state)),
        }
    }
}

/// Without swap where the kernel can (6.4): what is swapped out is on a disk.
fn mount_memory(state: &Path) -> rustix::io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", state, "tmpfs", flags, c"mode=0700,noswap")
        .or_else(|_| mount("tmpfs", state, "tmpfs", flags, c"mode=0700"))
}

impl SecretFile {
    fn write(&self, path: &Path) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(CWD, path, flags, Mode::from_raw_mode(0o600))?;
        let mut file = File::from(file);
        file.write_all(&self.data)?;
        rustix::fs::fchown(
            &file,
            Some(Uid::from_raw(self.uid)),
            Some(Gid::from_raw(self.gid)),
        )?;
        Ok(rustix::fs::fchmod(&file, Mode::from_raw_mode(self.mode))?)
    }
}
