//! Writes files into a layer directory so that they look as if copied into the mounted root.
//!
//! Nothing is mounted: a directory that only a lower layer has is made anew in the upper one with the lower
//! one's metadata, as overlayfs copies it up. Paths given here are canonical in the image (no symlink in any
//! component but the last), which [`MergedTree::canonical`] makes them: nothing can leave the root.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use plimsoll_store::{Entry, MergedTree};
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};

use crate::error::OpError;

/// Who a file belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Owner {
    /// The owner a file has.
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            uid: metadata.uid(),
            gid: metadata.gid(),
        }
    }
}

/// Owner and mode that a copy gets instead of its source's.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Change {
    pub(crate) owner: Option<Owner>,
    pub(crate) mode: Option<u32>,
}

/// Writes into one upper directory.
pub(crate) struct Writer {
    upper: PathBuf,
    tree: MergedTree,
    /// Times of directories, set at the end because writing into one changes it.
    times: Vec<(PathBuf, Timestamps)>,
    /// Copies of files with several names, by device and inode of the source.
    links: HashMap<(u64, u64), PathBuf>,
}

impl Writer {
    /// Writes into `upper`, which lies on `lowers` (top first).
    pub(crate) fn new(upper: &Path, lowers: &[PathBuf]) -> Self {
        let layers = [upper.to_owned()]
            .into_iter()
            .chain(lowers.iter().cloned())
            .collect();
        Self {
            upper: upper.to_owned(),
            tree: MergedTree::new(layers),
            times: Vec::new(),
            links: HashMap::new(),
        }
    }

    /// The root as it is now, with what was written.
    pub(crate) fn tree(&self) -> &MergedTree {
        &self.tree
    }

    fn host(&self, path: &Path) -> PathBuf {
        self.upper.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Makes a directory and its parents where they are missing, 0755 and owned by `owner`.
    pub(crate) fn directory(&mut self, path: &Path, owner: Owner) -> Result<(), OpError> {
        let mut current = PathBuf::from("/");
        for component in path
            .components()
            .filter(|component| matches!(component, Component::Normal(_)))
        {
            current.push(component);
            let host = self.host(&current);
            match fs::symlink_metadata(&host) {
                Ok(metadata) if metadata.is_dir() => continue,
                Ok(_) => return Err(not_a_directory(&current)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(OpError::io("examine", host)(error)),
            }
            match self.tree.lookup(&current)? {
                Some(lower) if lower.metadata.is_dir() => self.copy_up(&host, &lower)?,
                Some(_) => return Err(not_a_directory(&current)),
                None => {
                    fs::create_dir(&host).map_err(OpError::io("make folder", &host))?;
                    chown(&host, owner)?;
                    chmod(&host, 0o755)?;
                }
            }
        }
        Ok(())
    }

    /// Makes the upper twin of a lower directory.
    fn copy_up(&mut self, host: &Path, lower: &Entry) -> Result<(), OpError> {
        fs::create_dir(host).map_err(OpError::io("make folder", host))?;
        self.dress(host, lower, Change::default())
    }

    /// Copies a directory itself, without what is in it. An existing one takes the source's metadata.
    pub(crate) fn copy_directory(
        &mut self,
        source: &Entry,
        path: &Path,
        change: Change,
    ) -> Result<(), OpError> {
        self.directory(path, change.owner.unwrap_or_default())?;
        let host = self.host(path);
        self.dress(&host, source, change)
    }

    /// Copies a file, symlink or device; the parent directory must exist.
    pub(crate) fn copy_file(&mut self, source: &Entry, path: &Path, change: Change) -> Result<(), OpError> {
        let host = self.make_room(path)?;
        let identity = (source.metadata.dev(), source.metadata.ino());
        let several_names = source.metadata.nlink() > 1;
        if several_names && let Some(first) = self.links.get(&identity) {
            return fs::hard_link(first, &host).map_err(OpError::io("link", host));
        }
        let kind = source.metadata.file_type();
        if kind.is_symlink() {
            let target = source.read_link()?;
            std::os::unix::fs::symlink(target, &host).map_err(OpError::io("make symlink", &host))?;
        } else if kind.is_file() {
            let mut from = source.open()?;
            let mut to = fs::File::create_new(&host).map_err(OpError::io("create", &host))?;
            io::copy(&mut from, &mut to).map_err(OpError::io("copy to", &host))?;
        } else if kind.is_socket() {
            return Ok(());
        } else {
            let kind = match () {
                () if kind.is_fifo() => FileType::Fifo,
                () if kind.is_block_device() => FileType::BlockDevice,
                () => FileType::CharacterDevice,
            };
            rustix::fs::mknodat(
                CWD,
                &host,
                kind,
                Mode::from_raw_mode(0o600),
                source.metadata.rdev(),
            )
            .map_err(|error| OpError::io("make device", &host)(error.into()))?;
        }
        self.dress(&host, source, change)?;
        if several_names {
            self.links.insert(identity, host);
        }
        Ok(())
    }

    /// Writes a regular file; the parent directory must exist.
    pub(crate) fn write_file(
        &mut self,
        data: &mut dyn io::Read,
        path: &Path,
        owner: Owner,
        mode: u32,
        times: Option<Timestamps>,
    ) -> Result<(), OpError> {
        let host = self.make_room(path)?;
        let mut file = fs::File::create_new(&host).map_err(OpError::io("create", &host))?;
        io::copy(data, &mut file).map_err(OpError::io("write", &host))?;
        chown(&host, owner)?;
        chmod(&host, mode)?;
        times.map_or(Ok(()), |times| set_times(&host, &times))
    }

    /// Makes a directory, or gives one that is there these properties; the parent directory must exist.
    pub(crate) fn make_directory(
        &mut self,
        path: &Path,
        owner: Owner,
        mode: u32,
        times: Timestamps,
    ) -> Result<(), OpError> {
        self.directory(path, owner)?;
        let host = self.host(path);
        chown(&host, owner)?;
        chmod(&host, mode)?;
        self.times.push((host, times));
        Ok(())
    }

    /// Makes a symlink; the parent directory must exist.
    pub(crate) fn make_symlink(
        &mut self,
        target: &Path,
        path: &Path,
        owner: Owner,
        times: Timestamps,
    ) -> Result<(), OpError> {
        let host = self.make_room(path)?;
        std::os::unix::fs::symlink(target, &host).map_err(OpError::io("make symlink", &host))?;
        chown(&host, owner)?;
        set_times(&host, &times)
    }

    /// Makes a second name of a file written before.
    pub(crate) fn make_link(&mut self, target: &Path, path: &Path) -> Result<(), OpError> {
        let host = self.make_room(path)?;
        fs::hard_link(self.host(target), &host).map_err(OpError::io("link", host))
    }

    /// Removes what is in the way of a file at `path`; a directory in the way is an error.
    fn make_room(&self, path: &Path) -> Result<PathBuf, OpError> {
        let host = self.host(path);
        if let Some(existing) = self.tree.lookup(path)? {
            if existing.metadata.is_dir() {
                return Err(OpError::Copy(format!(
                    "cannot overwrite directory `{}` with a file",
                    path.display()
                )));
            }
            if fs::symlink_metadata(&host).is_ok() {
                fs::remove_file(&host).map_err(OpError::io("replace", &host))?;
            }
        }
        Ok(host)
    }

    /// Gives a copy its owner, mode, xattrs and times; in this order, since chown clears setuid and
    /// `security.capability`.
    fn dress(&mut self, host: &Path, source: &Entry, change: Change) -> Result<(), OpError> {
        chown(host, change.owner.unwrap_or_else(|| Owner::of(&source.metadata)))?;
        let kind = source.metadata.file_type();
        if !kind.is_symlink() {
            chmod(
                host,
                change
                    .mode
                    .unwrap_or_else(|| source.metadata.permissions().mode() & 0o7777),
            )?;
        }
        for (name, value) in source.xattrs()? {
            rustix::fs::lsetxattr(host, &name, &value, XattrFlags::empty())
                .map_err(|error| OpError::io("set attributes of", host)(error.into()))?;
        }
        let times = Timestamps {
            last_access: Timespec {
                tv_sec: source.metadata.mtime(),
                tv_nsec: source.metadata.mtime_nsec(),
            },
            last_modification: Timespec {
                tv_sec: source.metadata.mtime(),
                tv_nsec: source.metadata.mtime_nsec(),
            },
        };
        if kind.is_dir() {
            self.times.push((host.to_owned(), times));
            return Ok(());
        }
        set_times(host, &times)
    }

    /// Sets the times of directories.
    pub(crate) fn finish(self) -> Result<(), OpError> {
        self.times
            .iter()
            .try_for_each(|(host, times)| set_times(host, times))
    }
}

fn set_times(host: &Path, times: &Timestamps) -> Result<(), OpError> {
    rustix::fs::utimensat(CWD, host, times, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|error| OpError::io("set times of", host)(error.into()))
}

fn chown(host: &Path, owner: Owner) -> Result<(), OpError> {
    let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
    rustix::fs::chownat(CWD, host, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|error| OpError::io("change owner of", host)(error.into()))
}

fn chmod(host: &Path, mode: u32) -> Result<(), OpError> {
    fs::set_permissions(host, fs::Permissions::from_mode(mode)).map_err(OpError::io("change mode of", host))
}

fn not_a_directory(path: &Path) -> OpError {
    OpError::Copy(format!(
        "cannot copy to `{}`: it is not a directory",
        path.display()
    ))
}
