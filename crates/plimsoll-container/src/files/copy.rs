//! Trees from one root to another, by descriptors: no name is looked up twice, no link is followed.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{
    self, AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, StatxAttributes, StatxFlags, Timespec, Timestamps,
    Uid, XattrFlags,
};
use rustix::io::Errno;

use plimsoll_runtime::IdMap;

use crate::{ContainerError, Result};

/// To whom copies belong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Whom the original belongs to.
    Kept,
    /// Whom it belongs to, on the way into a container with users of its own.
    Outer(IdMap),
    /// Likewise on the way out.
    Inner(IdMap),
    /// One user and group.
    Given(u32, u32),
}

impl Owner {
    /// Kept, though `map` is between the original and the copy.
    pub(crate) fn kept(map: Option<&IdMap>, way: fn(IdMap) -> Self) -> Self {
        map.cloned().map_or(Self::Kept, way)
    }

    /// A user and a group, for a copy of what belongs to `uid` and `gid`.
    fn of(&self, uid: u32, gid: u32) -> rustix::io::Result<(u32, u32)> {
        match self {
            Self::Kept => Ok((uid, gid)),
            Self::Outer(map) => map
                .outer_user(uid)
                .zip(map.outer_group(gid))
                .ok_or(Errno::OVERFLOW),
            Self::Inner(map) => Ok(map.inner(uid, gid)),
            Self::Given(uid, gid) => Ok((*uid, *gid)),
        }
    }
}

/// Copies files, directories, links and devices with modes, times and attributes; names of one inode stay that.
pub(crate) struct Copier {
    owner: Owner,
    /// Where the first name of an inode with several went.
    links: HashMap<(u64, u64), (Rc<OwnedFd>, OsString)>,
}

impl Copier {
    pub(crate) fn new(owner: Owner) -> Self {
        Self {
            owner,
            links: HashMap::new(),
        }
    }

    /// Copies what is called `name` in `from` to `as_name` in `to`; `shown` is what errors call it. A directory is merged
    /// into one that is there, a file replaces a file.
    pub(crate) fn entry(
        &mut self,
        from: BorrowedFd<'_>,
        name: &OsStr,
        to: &Rc<OwnedFd>,
        as_name: &OsStr,
        shown: &Path,
    ) -> Result<()> {
        let failed = |error: Errno| failure(shown, error);
        let stat = fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        if kind(&stat) == FileType::Directory {
            let original = open_directory(from, name).map_err(failed)?;
            return self.directory(&original, to, as_name, shown);
        }
        if is_mount_point(to, as_name).map_err(failed)? {
            return overwrite(from, name, to, as_name).map_err(failed);
        }
        match fs::unlinkat(to, as_name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::ISDIR) => return Err(conflict(shown, "cannot overwrite a directory with a file")),
            Err(error) => return Err(failed(error)),
        }
        self.leaf(from, name, &stat, to, as_name).map_err(failed)
    }

    /// Copies a directory to `as_name` in `to`, merged with one that is there, which keeps its looks.
    pub(crate) fn directory(
        &mut self,
        from: &OwnedFd,
        to: &OwnedFd,
        as_name: &OsStr,
        shown: &Path,
    ) -> Result<()> {
        let failed = |error: Errno| failure(shown, error);
        let made = match fs::mkdirat(to, as_name, Mode::RWXU) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(error) => return Err(failed(error)),
        };
        let copy = match open_directory(to.as_fd(), as_name) {
            Err(Errno::NOTDIR) => return Err(conflict(shown, "cannot overwrite a file with a directory")),
            result => Rc::new(result.map_err(failed)?),
        };
        self.contents(from, &copy, shown)?;
        if !made {
            return Ok(());
        }
        let stat = fs::fstat(from).map_err(failed)?;
        let attributes = attributes(from.as_fd(), OsStr::new(".")).map_err(failed)?;
        self.dress(&stat, &attributes, copy.as_fd()).map_err(failed)
    }

    /// Copies all that a directory holds.
    pub(crate) fn contents(&mut self, from: &OwnedFd, to: &Rc<OwnedFd>, shown: &Path) -> Result<()> {
        for name in names(from).map_err(|error| failure(shown, error))? {
            self.entry(from.as_fd(), &name, to, &name, &shown.join(&name))?;
        }
        Ok(())
    }

    /// Copies what is no directory to a name that is free.
    fn leaf(
        &mut self,
        from: BorrowedFd<'_>,
        name: &OsStr,
        stat: &Stat,
        to: &Rc<OwnedFd>,
        as_name: &OsStr,
    ) -> rustix::io::Result<()> {
        let inode = (stat.st_dev, stat.st_ino);
        if let Some((folder, first)) = self.links.get(&inode).filter(|_| stat.st_nlink > 1) {
            return fs::linkat(folder, first, to, as_name, AtFlags::empty());
        }
        let attributes = attributes(from, name)?;
        match kind(stat) {
            FileType::RegularFile => {
                let mut original = open_file(from, name)?;
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let mut copy = File::from(fs::openat(to, as_name, flags, Mode::RUSR | Mode::WUSR)?);
                io::copy(&mut original, &mut copy).map_err(errno)?;
                self.dress(stat, &attributes, copy.as_fd())?;
            }
            // A socket is nothing without its process.
            FileType::Socket | FileType::Unknown => return Ok(()),
            other => {
                match other {
                    FileType::Symlink => {
                        fs::symlinkat(&fs::readlinkat(from, name, Vec::new())?, to, as_name)?
                    }
                    _ => fs::mknodat(to, as_name, other, Mode::RUSR | Mode::WUSR, stat.st_rdev)?,
                }
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let copy = fs::openat(to, as_name, flags, Mode::empty())?;
                if kind(&fs::fstat(&copy)?) != other {
                    return Err(Errno::AGAIN);
                }
                self.dress(stat, &attributes, copy.as_fd())?;
            }
        }
        if stat.st_nlink > 1 {
            self.links.insert(inode, (to.clone(), as_name.to_owned()));
        }
        Ok(())
    }

    /// Gives a copy the looks of its original, by its descriptor: its name may lead elsewhere by now. The owner first:
    /// changing it clears set-id bits and capabilities.
    fn dress(
        &self,
        stat: &Stat,
        attributes: &[(OsString, Vec<u8>)],
        copy: BorrowedFd<'_>,
    ) -> rustix::io::Result<()> {
        let (uid, gid) = self.owner.of(stat.st_uid, stat.st_gid)?;
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        fs::chownat(copy, "", uid, gid, AtFlags::EMPTY_PATH)?;
        let itself = path_of(copy);
        for (attribute, value) in attributes {
            match fs::setxattr(&itself, attribute, value, XattrFlags::empty()) {
                // A file system without them, or a caller who may not: the file is worth more than its attribute.
                Ok(()) | Err(Errno::NOTSUP | Errno::PERM) => {}
                Err(error) => return Err(error),
            }
        }
        if kind(stat) != FileType::Symlink {
            fs::chmod(&itself, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
        }
        let times = Timestamps {
            last_access: time(stat.st_atime, stat.st_atime_nsec as i64),
            last_modification: time(stat.st_mtime, stat.st_mtime_nsec as i64),
        };
        fs::utimensat(fs::CWD, &itself, &times, AtFlags::empty())
    }
}

fn time(seconds: i64, nanoseconds: i64) -> Timespec {
    Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    }
}

/// The kind of a file.
pub(crate) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// The names in a directory, sorted, without `.` and `..`.
pub(crate) fn names(directory: &OwnedFd) -> rustix::io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name.to_vec()));
        }
    }
    names.sort();
    Ok(names)
}

/// Opens a directory that no link leads to.
pub(crate) fn open_directory(parent: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(parent, name, flags, Mode::empty())
}

/// Opens a plain file, and nothing that has taken its place.
pub(crate) fn open_file(parent: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<File> {
    open_plain(parent, name, OFlags::RDONLY)
}

/// What it is is known before it is opened: opening a device acts.
fn open_plain(parent: BorrowedFd<'_>, name: &OsStr, flags: OFlags) -> rustix::io::Result<File> {
    let place = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let place = fs::openat(parent, name, place, Mode::empty())?;
    match kind(&fs::fstat(&place)?) {
        FileType::RegularFile => {
            let flags = flags | OFlags::CLOEXEC;
            Ok(fs::open(path_of(place.as_fd()), flags, Mode::empty())?.into())
        }
        _ => Err(Errno::AGAIN),
    }
}

/// Whether something is mounted on a file. Removing it would take the mount away from whoever has it, unseen.
fn is_mount_point(parent: &OwnedFd, name: &OsStr) -> rustix::io::Result<bool> {
    match fs::statx(parent, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty()) {
        Ok(found) => Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Gives a mounted file another content. It keeps its looks.
fn overwrite(from: BorrowedFd<'_>, name: &OsStr, to: &OwnedFd, as_name: &OsStr) -> rustix::io::Result<()> {
    let mut original = open_file(from, name)?;
    let mut mounted = open_plain(to.as_fd(), as_name, OFlags::WRONLY | OFlags::TRUNC)?;
    io::copy(&mut original, &mut mounted).map(drop).map_err(errno)
}

/// The attributes that go with a file.
pub(crate) fn attributes(
    parent: BorrowedFd<'_>,
    name: &OsStr,
) -> rustix::io::Result<Vec<(OsString, Vec<u8>)>> {
    plimsoll_layer::xattrs(&path_of(parent).join(name)).map_err(errno)
}

/// A path for the calls that take no descriptor.
fn path_of(descriptor: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", descriptor.as_raw_fd()))
}

fn errno(error: io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error)
}

pub(crate) fn failure(shown: &Path, error: Errno) -> ContainerError {
    ContainerError::file("copy", shown)(error.into())
}

fn conflict(shown: &Path, why: &str) -> ContainerError {
    ContainerError::Copy(format!(
        "{why}: {}",
        String::from_utf8_lossy(shown.as_os_str().as_bytes())
    ))
}
