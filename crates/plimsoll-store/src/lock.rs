//! Lock files: flock, so that a lock dies with its process.
//!
//! Two kinds. A [`Lock`] is exclusive and leaves nothing behind: its file is unlinked while still locked, and whoever
//! waited on it notices that the name now means another file (or none) and starts again. A [`SharedLock`]'s file stays:
//! unlinking it under one of several holders would let an exclusive taker in beside the others.
//!
//! Descriptors are close-on-exec, so that no child keeps a lock alive. Acquired in this order:
//! 1. `store`, shared, from linking a blob or committing a snapshot to the commit of its row; exclusive to collect;
//! 2. named locks: a container, a build key, then cache mounts sorted by id;
//! 3. the database's write lock.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{At, Result};

/// An exclusive lock file, released and removed on drop.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: Utf8PathBuf,
}

impl Lock {
    /// Waits until the lock is ours.
    pub(crate) fn wait(path: &Utf8Path) -> Result<Self> {
        loop {
            if let Some(lock) = Self::attempt(path, FlockOperation::LockExclusive)? {
                return Ok(lock);
            }
        }
    }

    /// Returns none when somebody holds it.
    pub(crate) fn try_now(path: &Utf8Path) -> Result<Option<Self>> {
        loop {
            match Self::attempt(path, FlockOperation::NonBlockingLockExclusive) {
                Ok(Some(lock)) => return Ok(Some(lock)),
                Ok(None) => {}
                Err(error) if would_block(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns none when the file was unlinked between opening and locking it.
    fn attempt(path: &Utf8Path, operation: FlockOperation) -> Result<Option<Self>> {
        let file = locked(path, operation)?;
        if !is_named(&file, path)? {
            return Ok(None);
        }
        let mut lock = Self {
            file,
            path: path.to_owned(),
        };
        lock.sign();
        Ok(Some(lock))
    }

    /// Leaves our process id for a "waiting for" message. Nothing is decided by it, so failing is harmless.
    fn sign(&mut self) {
        let _ = self.file.set_len(0);
        let _ = writeln!(self.file, "{}", std::process::id());
    }
}

/// Another process that is given it holds the lock, too, until it closes it.
impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Still locked: the descriptor is closed after this.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A lock that many may share or one have alone; its file stays.
#[derive(Debug)]
pub(crate) struct SharedLock {
    _file: File,
}

impl SharedLock {
    /// Waits for every exclusive holder.
    pub(crate) fn shared(path: &Utf8Path) -> Result<Self> {
        Ok(Self {
            _file: locked(path, FlockOperation::LockShared)?,
        })
    }

    /// Waits for every holder.
    pub(crate) fn exclusive(path: &Utf8Path) -> Result<Self> {
        Ok(Self {
            _file: locked(path, FlockOperation::LockExclusive)?,
        })
    }
}

fn locked(path: &Utf8Path, operation: FlockOperation) -> Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file =
        File::from(rustix::fs::open(path.as_std_path(), flags, Mode::RUSR | Mode::WUSR).at("open", path)?);
    loop {
        match rustix::fs::flock(&file, operation) {
            Err(Errno::INTR) => {}
            result => {
                result.at("lock", path)?;
                return Ok(file);
            }
        }
    }
}

/// Returns whether `path` still means the file that was opened by it.
pub(crate) fn is_named(file: &File, path: &Utf8Path) -> Result<bool> {
    let opened = file.metadata().at("examine", path)?;
    match std::fs::symlink_metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (opened.dev(), opened.ino())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).at("examine", path),
    }
}

fn would_block(error: &crate::StoreError) -> bool {
    matches!(error, crate::StoreError::File { source, .. } if source.kind() == std::io::ErrorKind::WouldBlock)
}

/// Returns the process id written in a held lock, for messages.
pub(crate) fn holder(path: &Utf8Path) -> Option<u32> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}
