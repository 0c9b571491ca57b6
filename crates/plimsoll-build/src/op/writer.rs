//! Writes files into a layer directory so that they look as if copied into the mounted root.
//!
//! Nothing is mounted: a directory that only a lower layer has is made anew in the upper one with the lower
//! one's metadata, as overlayfs copies it up. Paths given here are canonical in the image (no symlink in any
//! component but the last), which [`MergedTree::canonical`] makes them: nothing can leave the root.

mod attributes;
mod data;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use plimsoll_store::{Entry, MergedTree};
use rustix::fs::{CWD, FileType, Mode, OFlags, Timespec, Timestamps};

use super::copy::{Facts, Previous};
use super::mode::ModeChange;
use crate::context::Content;
use crate::error::OpError;
use crate::stat::Stat;
use attributes::{chmod, chown, dress_directory, dress_file, dress_node, set_times};

/// Who a file belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Owner and mode that a copy gets instead of its source's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Change {
    pub(crate) owner: Option<Owner>,
    pub(crate) mode: Option<ModeChange>,
}

impl Change {
    /// The owner that a copy of a file gets.
    pub(crate) fn owner_of(&self, stat: &Stat) -> Owner {
        self.owner.unwrap_or(Owner {
            uid: stat.uid,
            gid: stat.gid,
        })
    }

    /// The mode that a copy of a file gets.
    pub(crate) fn mode_of(&self, stat: &Stat) -> u32 {
        let mode = stat.permissions();
        self.mode
            .as_ref()
            .map_or(mode, |change| change.apply(mode, stat.is_directory()))
    }

    /// The owner of directories that have to be made on the way.
    pub(crate) fn owner_of_parents(&self) -> Owner {
        self.owner.unwrap_or_default()
    }
}

/// A file on the host that is copied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Original<'a> {
    pub(crate) host: &'a Path,
    pub(crate) stat: Stat,
    /// What it held when the cache key was made, where that may have changed meanwhile: it is somebody's folder.
    pub(crate) content: Option<Content>,
}

impl<'a> From<&'a Entry> for Original<'a> {
    fn from(entry: &'a Entry) -> Self {
        Self {
            host: &entry.host_path,
            stat: Stat::from(&entry.metadata),
            content: None,
        }
    }
}

/// Writes into one upper directory.
pub(crate) struct Writer {
    upper: PathBuf,
    tree: MergedTree,
    /// Directories that the upper one has. True: no lower layer has it, so that only the upper one need be asked.
    directories: HashMap<PathBuf, bool>,
    /// Times of directories, set at the end because writing into one changes it.
    times: Vec<(PathBuf, Timestamps)>,
    /// Copies of files with several names, by device and inode of the source.
    links: HashMap<(u64, u64), PathBuf>,
    /// Mode of directories that have to be made on the way.
    parent_mode: u32,
    previous: Option<Previous>,
    written: Vec<(PathBuf, Facts)>,
    /// Cleared by the first failure: the file system cannot share blocks.
    reflinks: bool,
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
            directories: HashMap::new(),
            times: Vec::new(),
            links: HashMap::new(),
            parent_mode: 0o755,
            previous: None,
            written: Vec::new(),
            reflinks: true,
        }
    }

    /// Gives directories that have to be made on the way another mode than 0755.
    pub(crate) fn parent_mode(mut self, mode: u32) -> Self {
        self.parent_mode = mode;
        self
    }

    /// Takes files from an earlier run where they are the same.
    pub(crate) fn previous(mut self, previous: Option<Previous>) -> Self {
        self.previous = previous;
        self
    }

    /// The root as it is now, with what was written.
    pub(crate) fn tree(&self) -> &MergedTree {
        &self.tree
    }

    fn host(&self, path: &Path) -> PathBuf {
        self.upper.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Makes a directory and its parents where they are missing, owned by `owner`. Tells whether the lower layers
    /// have none there.
    pub(crate) fn directory(&mut self, path: &Path, owner: Owner) -> Result<bool, OpError> {
        if let Some(fresh) = self.directories.get(path) {
            return Ok(*fresh);
        }
        let above = path
            .parent()
            .filter(|_| matches!(path.components().next_back(), Some(Component::Normal(_))));
        let fresh = match above {
            None => false,
            Some(above) => {
                let above_is_fresh = self.directory(above, owner)?;
                self.one_directory(path, owner, above_is_fresh)?
            }
        };
        self.directories.insert(path.to_owned(), fresh);
        Ok(fresh)
    }

    fn one_directory(&mut self, path: &Path, owner: Owner, above_is_fresh: bool) -> Result<bool, OpError> {
        let host = self.host(path);
        match fs::symlink_metadata(&host) {
            Ok(metadata) if metadata.is_dir() => return Ok(false),
            Ok(_) => return Err(not_a_directory(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(OpError::io("examine", host)(error)),
        }
        let lower = if above_is_fresh {
            None
        } else {
            self.tree.lookup(path)?
        };
        if lower.as_ref().is_some_and(|lower| !lower.metadata.is_dir()) {
            return Err(not_a_directory(path));
        }
        fs::create_dir(&host).map_err(OpError::io("make folder", &host))?;
        match &lower {
            Some(lower) => self.dress(&host, &Original::from(lower), &Change::default())?,
            None => {
                chown(&host, owner)?;
                chmod(&host, self.parent_mode)?;
            }
        }
        Ok(lower.is_none())
    }

    /// Copies a directory itself, without what is in it. An existing one takes the source's metadata.
    pub(crate) fn copy_directory(
        &mut self,
        source: &Original<'_>,
        path: &Path,
        change: &Change,
    ) -> Result<(), OpError> {
        self.directory(path, change.owner_of_parents())?;
        let host = self.host(path);
        self.dress(&host, source, change)
    }

    fn dress(&mut self, host: &Path, source: &Original<'_>, change: &Change) -> Result<(), OpError> {
        dress_directory(host, source, change)?;
        self.times.push((host.to_owned(), timestamps(&source.stat)));
        Ok(())
    }

    /// Gives a directory the times of another; it keeps the rest.
    pub(crate) fn copy_times(&mut self, source: &Stat, path: &Path) {
        let host = self.host(path);
        self.times.push((host, timestamps(source)));
    }

    /// Copies a file, symlink or device; the parent directory must exist.
    pub(crate) fn copy_file(
        &mut self,
        source: &Original<'_>,
        path: &Path,
        change: &Change,
    ) -> Result<(), OpError> {
        let stat = &source.stat;
        if stat.is_socket() {
            return Ok(());
        }
        if stat.is_file() && stat.nlink < 2 {
            return self.copy_regular(source, path, change);
        }
        let host = self.make_room(path)?;
        let identity = (stat.dev, stat.ino);
        let several_names = stat.nlink > 1;
        if several_names && let Some(first) = self.links.get(&identity) {
            return fs::hard_link(first, &host).map_err(OpError::io("link", host));
        }
        if stat.is_file() {
            self.copy_data(source, create(&host)?, &host, change)?;
        } else {
            make_node(source, &host)?;
            dress_node(&host, source, change)?;
        }
        if several_names {
            self.links.insert(identity, host);
        }
        Ok(())
    }

    /// Copies a regular file of one name, or links it to what the last run left.
    fn copy_regular(&mut self, source: &Original<'_>, path: &Path, change: &Change) -> Result<(), OpError> {
        let facts = source.content.map(|content| Facts {
            content,
            owner: change.owner_of(&source.stat),
            mode: change.mode_of(&source.stat),
            mtime: source.stat.mtime,
        });
        let host = self.host(path);
        if let Some(facts) = facts {
            self.written.push((path.to_owned(), facts));
            let same = self
                .previous
                .as_ref()
                .and_then(|previous| previous.find(path, &facts));
            // Removed by now, or linked as often as the file system can: then it is copied.
            if same.is_some_and(|same| {
                self.in_place(path, &host, |host| fs::hard_link(&same, host))
                    .is_ok()
            }) {
                return Ok(());
            }
        }
        let to = self.in_place(path, &host, |host| fs::File::create_new(host))?;
        self.copy_data(source, to, &host, change)
    }

    /// Creates a file, in place of one that is in the way.
    fn in_place<T>(
        &self,
        path: &Path,
        host: &Path,
        create: impl Fn(&Path) -> io::Result<T>,
    ) -> Result<T, OpError> {
        // Where no lower layer has anything to say, the upper one says itself what is there.
        if self.is_fresh(path) {
            match create(host) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                created => return created.map_err(OpError::io("create", host)),
            }
        }
        self.make_room(path)?;
        create(host).map_err(OpError::io("create", host))
    }

    fn is_fresh(&self, path: &Path) -> bool {
        path.parent().and_then(|above| self.directories.get(above)) == Some(&true)
    }

    fn copy_data(
        &mut self,
        source: &Original<'_>,
        to: fs::File,
        host: &Path,
        change: &Change,
    ) -> Result<(), OpError> {
        let from = open_file(source.host)?;
        data::copy(&from, &to, &source.stat, &mut self.reflinks).map_err(OpError::io("copy to", host))?;
        dress_file(&to, host, source, change)?;
        if source.content.is_some() {
            let now = from.metadata().map_err(OpError::io("examine", source.host))?;
            if !source.stat.unchanged(&Stat::from(&now)) {
                return Err(OpError::Changed {
                    path: source.host.to_owned(),
                });
            }
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
        let mut file = create(&host)?;
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

    /// Makes a fifo or device; the parent directory must exist.
    pub(crate) fn make_special(
        &mut self,
        kind: FileType,
        device: u64,
        path: &Path,
        owner: Owner,
        mode: u32,
        times: Timestamps,
    ) -> Result<(), OpError> {
        let host = self.make_room(path)?;
        mknod(&host, kind, device)?;
        chown(&host, owner)?;
        chmod(&host, mode)?;
        set_times(&host, &times)
    }

    /// Makes a second name of a file written before.
    pub(crate) fn make_link(&mut self, target: &Path, path: &Path) -> Result<(), OpError> {
        if target == path {
            return Ok(());
        }
        let host = self.make_room(path)?;
        fs::hard_link(self.host(target), &host).map_err(OpError::io("link", host))
    }

    /// Sets extended attributes of what was written at `path`.
    pub(crate) fn set_xattr(&self, path: &Path, name: &str, value: &[u8]) -> Result<(), OpError> {
        attributes::set_xattr(&self.host(path), name.as_ref(), value)
    }

    /// Takes over a layer directory whole: directories made anew, all else linked, deletions as well.
    pub(crate) fn adopt(&mut self, layer: &Path, path: &Path) -> Result<(), OpError> {
        for entry in fs::read_dir(layer).map_err(OpError::io("read", layer))? {
            let entry = entry.map_err(OpError::io("read", layer))?;
            let (host, path) = (entry.path(), path.join(entry.file_name()));
            let stat = Stat::from(&entry.metadata().map_err(OpError::io("examine", &host))?);
            let to = self.host(&path);
            if stat.is_directory() {
                fs::create_dir(&to).map_err(OpError::io("make folder", &to))?;
                self.dress(
                    &to,
                    &Original {
                        host: &host,
                        stat,
                        content: None,
                    },
                    &Change::default(),
                )?;
                self.adopt(&host, &path)?;
            } else {
                match fs::hard_link(&host, &to) {
                    // As many names as the file system allows.
                    Err(error) if error.kind() == io::ErrorKind::TooManyLinks => {
                        self.copy_file(
                            &Original {
                                host: &host,
                                stat,
                                content: None,
                            },
                            &path,
                            &Change::default(),
                        )?;
                    }
                    linked => linked.map_err(OpError::io("link", &to))?,
                }
            }
        }
        Ok(())
    }

    /// Removes what is in the way of a file at `path`; a directory in the way is an error.
    fn make_room(&self, path: &Path) -> Result<PathBuf, OpError> {
        let host = self.host(path);
        let in_upper = fs::symlink_metadata(&host).ok();
        let directory = match &in_upper {
            Some(there) => there.is_dir(),
            None if self.is_fresh(path) => false,
            None => self
                .tree
                .lookup(path)?
                .is_some_and(|entry| entry.metadata.is_dir()),
        };
        if directory {
            return Err(OpError::Copy(format!(
                "cannot overwrite directory `{}` with a file",
                path.display()
            )));
        }
        if in_upper.is_some() {
            fs::remove_file(&host).map_err(OpError::io("replace", &host))?;
        }
        Ok(host)
    }

    /// Sets the times of directories. Returns the regular files that were written of which the content is known.
    pub(crate) fn finish(self) -> Result<Vec<(PathBuf, Facts)>, OpError> {
        self.times
            .iter()
            .try_for_each(|(host, times)| set_times(host, times))?;
        Ok(self.written)
    }
}

/// Opens a regular file for reading. Were it something else by now, this would neither follow nor wait.
pub(crate) fn open_file(host: &Path) -> Result<fs::File, OpError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::open(host, flags, Mode::empty())
        .map(fs::File::from)
        .map_err(|error| OpError::io("open", host)(error.into()))
}

fn create(host: &Path) -> Result<fs::File, OpError> {
    fs::File::create_new(host).map_err(OpError::io("create", host))
}

/// Makes a symlink, fifo or device like another.
fn make_node(source: &Original<'_>, host: &Path) -> Result<(), OpError> {
    if source.stat.is_symlink() {
        let target = fs::read_link(source.host).map_err(OpError::io("read the link", source.host))?;
        return std::os::unix::fs::symlink(target, host).map_err(OpError::io("make symlink", host));
    }
    mknod(host, FileType::from_raw_mode(source.stat.mode), source.stat.rdev)
}

fn mknod(host: &Path, kind: FileType, device: u64) -> Result<(), OpError> {
    rustix::fs::mknodat(CWD, host, kind, Mode::from_raw_mode(0o600), device)
        .map_err(|error| OpError::io("make device", host)(error.into()))
}

/// Access time as well: a copy has not been read.
fn timestamps(stat: &Stat) -> Timestamps {
    let time = Timespec {
        tv_sec: stat.mtime.0,
        tv_nsec: stat.mtime.1.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

fn not_a_directory(path: &Path) -> OpError {
    OpError::Copy(format!(
        "cannot copy to `{}`: it is not a directory",
        path.display()
    ))
}
