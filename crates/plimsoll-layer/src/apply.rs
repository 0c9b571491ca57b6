//! Unpacking a layer archive into a fresh overlay layer directory.
//!
//! The bytes may be an attacker's. Every name is resolved below the directory's descriptor, symbolic links included
//! ([`crate::resolve`]); files are made with `O_EXCL` and never opened through a link; owner, attributes, mode and time
//! are set in that order (a change of owner clears capabilities and set-uid bits), for directories the time at the very
//! end. Nothing is read from the host but the layers below.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use crate::attributes::{path_in, set_opaque};
use crate::error::{At as _, LayerError, Result, refused};
use crate::lower::{Lower, Lowers};
use crate::read::{Kind, Member, Reader};
use crate::resolve::{self, is_whiteout, kind, normalised, open_in, split};
use crate::{AUFS, Applied, OPAQUE, WHITEOUT};

/// Unpacks one uncompressed layer tar into `directory`, a fresh overlay layer directory.
///
/// `lowers`, top first, give directories that the archive only implies their metadata, and hard links to files of the
/// layers below their target. The digest is of every byte that `tar` yields.
pub fn apply(tar: impl Read, directory: &Path, lowers: &[PathBuf]) -> Result<Applied, LayerError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let name = directory.as_os_str().as_encoded_bytes();
    let root = rustix::fs::open(directory, flags, Mode::empty()).at("open", name)?;
    let mut layer = Layer {
        root: Rc::new(root),
        lowers: Lowers::new(lowers),
        parent: None,
        directory_times: Vec::new(),
        hides_everything: false,
    };
    let mut reader = Reader::new(tar);
    while let Some(member) = reader.next()? {
        layer.place(&member, &mut reader)?;
    }
    layer.finish()?;
    reader.finish()
}

struct Layer<'a> {
    root: Rc<OwnedFd>,
    lowers: Lowers<'a>,
    /// The directory last written to: archives are mostly in order.
    parent: Option<(Vec<u8>, Rc<OwnedFd>)>,
    directory_times: Vec<(Vec<u8>, (i64, u32))>,
    /// There was an opaque mark in the root, which overlayfs does not look at there.
    hides_everything: bool,
}

/// What an inode is to look like.
struct Look<'a> {
    mode: u32,
    user: u32,
    group: u32,
    time: (i64, u32),
    xattrs: &'a [(Vec<u8>, Vec<u8>)],
}

impl<'a> Look<'a> {
    fn of(member: &'a Member) -> Self {
        let Member {
            mode,
            user,
            group,
            time,
            ref xattrs,
            ..
        } = *member;
        Self {
            mode,
            user,
            group,
            time,
            xattrs,
        }
    }

    fn of_lower(lower: &Lower, xattrs: &'a [(Vec<u8>, Vec<u8>)]) -> Self {
        let stat = &lower.stat;
        let time = (stat.st_mtime, stat.st_mtime_nsec as u32);
        Self {
            mode: stat.st_mode & 0o7777,
            user: stat.st_uid,
            group: stat.st_gid,
            time,
            xattrs,
        }
    }
}

impl Layer<'_> {
    fn place<R: Read>(&mut self, member: &Member, reader: &mut Reader<R>) -> Result<()> {
        let path = normalised(&member.path)?;
        if path.is_empty() {
            return self.place_root(member);
        }
        let (above, name) = split(&path);
        if above
            .split(|byte| *byte == b'/')
            .any(|component| component.starts_with(AUFS))
        {
            return Ok(());
        }
        if above
            .split(|byte| *byte == b'/')
            .any(|component| component.starts_with(WHITEOUT))
        {
            return Err(refused(&path, "it is below a name that means a deletion"));
        }
        if name.starts_with(WHITEOUT) {
            return self.place_whiteout(&path, above, name);
        }
        let parent = self.directory(above)?;
        match member.kind {
            Kind::Directory => self.place_directory(member, &parent, &path, name),
            Kind::File => self.place_file(member, reader, &parent, &path, name),
            Kind::HardLink => self.place_link(member, &parent, &path, name),
            Kind::Symlink => {
                self.make(&parent, &path, name, || {
                    rustix::fs::symlinkat(&member.link[..], &parent, name)
                })?;
                dress_named(&parent, &path, name, &Look::of(member), false)
            }
            Kind::CharacterDevice | Kind::BlockDevice | Kind::Fifo => {
                self.place_node(member, &parent, &path, name)
            }
        }
    }

    /// An entry for the root itself sets its metadata.
    fn place_root(&mut self, member: &Member) -> Result<()> {
        if member.kind != Kind::Directory {
            return Err(refused(&member.path, "the root of a layer is a directory"));
        }
        dress_open(&*self.root, b"", &Look::of(member))?;
        self.directory_times.push((Vec::new(), member.time));
        Ok(())
    }

    /// A deletion is of what the layers below have; what this layer has itself stays.
    fn place_whiteout(&mut self, path: &[u8], above: &[u8], name: &[u8]) -> Result<()> {
        if name == OPAQUE {
            if above.is_empty() {
                self.hides_everything = true;
                return Ok(());
            }
            let parent = self.directory(above)?;
            return set_opaque(&path_in(&parent, b".")).at("mark as opaque", above);
        }
        if name.starts_with(AUFS) {
            return Ok(());
        }
        let deleted = &name[WHITEOUT.len()..];
        if matches!(deleted, b"" | b"." | b"..") {
            return Err(refused(path, "it deletes nothing that can have a name"));
        }
        let parent = self.directory(above)?;
        self.hide(&parent, path, deleted)
    }

    /// Hides what the layers below have under `name`.
    fn hide(&self, parent: &OwnedFd, path: &[u8], name: &[u8]) -> Result<()> {
        match rustix::fs::mknodat(parent, name, FileType::CharacterDevice, Mode::empty(), 0) {
            Err(Errno::EXIST) => {
                let stat = resolve::stat(parent, name).at("examine", path)?;
                if stat.is_some_and(|stat| kind(&stat) == FileType::Directory) {
                    set_opaque(&path_in(parent, name)).at("mark as opaque", path)?;
                }
                Ok(())
            }
            result => result.at("create", path),
        }
    }

    fn place_directory(&mut self, member: &Member, parent: &OwnedFd, path: &[u8], name: &[u8]) -> Result<()> {
        let before = resolve::stat(parent, name).at("examine", path)?;
        let there = before
            .as_ref()
            .is_some_and(|stat| kind(stat) == FileType::Directory);
        if !there {
            self.make(parent, path, name, || {
                rustix::fs::mkdirat(parent, name, Mode::RWXU)
            })?;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(parent, name, flags, Mode::empty()).at("open", path)?;
        if before.as_ref().is_some_and(is_whiteout) {
            set_opaque(&path_in(&directory, b".")).at("mark as opaque", path)?;
        }
        dress_open(&directory, path, &Look::of(member))?;
        self.directory_times.push((path.to_vec(), member.time));
        Ok(())
    }

    fn place_file<R: Read>(
        &mut self,
        member: &Member,
        reader: &mut Reader<R>,
        parent: &OwnedFd,
        path: &[u8],
        name: &[u8],
    ) -> Result<()> {
        let file = self.make_file(parent, path, name)?;
        match &member.parts {
            None => reader.copy(member.size, &file, path)?,
            Some(parts) => {
                for part in parts {
                    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(part.offset)).at("write", path)?;
                    reader.copy(part.length, &file, path)?;
                }
                file.set_len(member.size).at("write", path)?;
            }
        }
        let look = Look::of(member);
        dress_open(&file, path, &look)?;
        rustix::fs::futimens(&file, &timestamps(look.time)).at("set the time of", path)
    }

    fn place_node(&mut self, member: &Member, parent: &OwnedFd, path: &[u8], name: &[u8]) -> Result<()> {
        let file_type = match member.kind {
            Kind::CharacterDevice => FileType::CharacterDevice,
            Kind::BlockDevice => FileType::BlockDevice,
            _ => FileType::Fifo,
        };
        // Only root of the machine makes them, and nobody could open one there: an ordinary user's images do without, as in
        // other engines.
        if file_type != FileType::Fifo && in_user_namespace() {
            return Ok(());
        }
        let device = rustix::fs::makedev(member.device.0, member.device.1);
        self.make(parent, path, name, || {
            rustix::fs::mknodat(parent, name, file_type, Mode::RUSR | Mode::WUSR, device)
        })?;
        dress_named(parent, path, name, &Look::of(member), true)
    }

    /// A hard link has the metadata of its target, whatever its own header says.
    fn place_link(&mut self, member: &Member, parent: &OwnedFd, path: &[u8], name: &[u8]) -> Result<()> {
        let target = normalised(&member.link)?;
        let (target_above, target_name) = split(&target);
        if target == path || target.is_empty() {
            return Err(refused(path, "it is a hard link to itself"));
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let beside = match open_in(&*self.root, target_above, flags) {
            Ok(directory)
                if resolve::stat(&directory, target_name)
                    .at("examine", &target)?
                    .is_some() =>
            {
                directory
            }
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => {
                self.copy_up(&target, path)?;
                open_in(&*self.root, target_above, flags).at("open", &target)?
            }
            Err(error) => return Err(error).at("open", &target),
        };
        self.make(parent, path, name, || {
            rustix::fs::linkat(&beside, target_name, parent, name, AtFlags::empty())
        })
    }

    /// Copies a file of the layers below into this one.
    fn copy_up(&mut self, target: &[u8], link: &[u8]) -> Result<()> {
        let (above, name) = split(target);
        let Some(lower) = self.lowers.find(target)? else {
            return Err(refused(link, "it is a hard link to a file that is not there"));
        };
        let parent = self.directory(above)?;
        let xattrs = lower.xattrs(target)?;
        let look = Look::of_lower(&lower, &xattrs);
        if kind(&lower.stat) == FileType::Symlink {
            let link = rustix::fs::readlinkat(&lower.fd, "", Vec::new()).at("read the link", target)?;
            self.make(&parent, target, name, || {
                rustix::fs::symlinkat(&link, &parent, name)
            })?;
            return dress_named(&parent, target, name, &look, false);
        }
        let mut content = lower.content(target)?;
        let mut file = self.make_file(&parent, target, name)?;
        io::copy(&mut content, &mut file).at("write", target)?;
        dress_open(&file, target, &look)?;
        rustix::fs::futimens(&file, &timestamps(look.time)).at("set the time of", target)
    }

    fn make_file(&mut self, parent: &OwnedFd, path: &[u8], name: &[u8]) -> Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = self.make(parent, path, name, || {
            rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR)
        })?;
        Ok(File::from(file))
    }

    /// Makes an entry, in place of one of the same name that came earlier in the archive.
    fn make<T>(
        &mut self,
        parent: &OwnedFd,
        path: &[u8],
        name: &[u8],
        create: impl Fn() -> rustix::io::Result<T>,
    ) -> Result<T> {
        match create() {
            Err(Errno::EXIST) => {}
            result => return result.at("create", path),
        }
        // What is removed may be on the way to the directory kept open.
        self.parent = None;
        resolve::remove(parent, name).at("replace", path)?;
        create().at("create", path)
    }

    /// Opens a directory of the layer, making it and those above it where the archive only implies them.
    fn directory(&mut self, path: &[u8]) -> Result<Rc<OwnedFd>> {
        if path.is_empty() {
            return Ok(Rc::clone(&self.root));
        }
        if let Some((_, directory)) = self.parent.as_ref().filter(|(open, _)| open == path) {
            return Ok(Rc::clone(directory));
        }
        let directory = match open_in(&*self.root, path, OFlags::PATH | OFlags::DIRECTORY) {
            Ok(directory) => directory,
            Err(Errno::NOENT | Errno::NOTDIR) => self.imply(path)?,
            Err(error) => return Err(error).at("open", path),
        };
        let directory = Rc::new(directory);
        self.parent = Some((path.to_vec(), Rc::clone(&directory)));
        Ok(directory)
    }

    /// Makes a directory that the archive only implies. It looks like the same one in the layers below; where there is
    /// none, like what `mkdir` makes, at a time that is the same for everybody.
    fn imply(&mut self, path: &[u8]) -> Result<OwnedFd> {
        let (above, name) = split(path);
        let parent = self.directory(above)?;
        // Deleted below by an earlier entry: then it starts empty.
        let deleted = resolve::stat(&*parent, name)
            .at("examine", path)?
            .as_ref()
            .is_some_and(is_whiteout);
        if deleted {
            resolve::remove(&*parent, name).at("replace", path)?;
        }
        rustix::fs::mkdirat(&*parent, name, Mode::RWXU).at("create", path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(&*parent, name, flags, Mode::empty()).at("open", path)?;
        if deleted {
            set_opaque(&path_in(&directory, b".")).at("mark as opaque", path)?;
        }
        let lower = self
            .lowers
            .find(path)?
            .filter(|lower| kind(&lower.stat) == FileType::Directory);
        let xattrs = lower
            .as_ref()
            .map(|lower| lower.xattrs(path))
            .transpose()?
            .unwrap_or_default();
        let look = match &lower {
            Some(lower) => Look::of_lower(lower, &xattrs),
            None => Look {
                mode: 0o755,
                user: 0,
                group: 0,
                time: (0, 0),
                xattrs: &[],
            },
        };
        dress_open(&directory, path, &look)?;
        self.directory_times.push((path.to_vec(), look.time));
        Ok(directory)
    }

    fn finish(&mut self) -> Result<()> {
        if self.hides_everything {
            self.hide_everything()?;
        }
        for (path, time) in std::mem::take(&mut self.directory_times) {
            match open_in(
                &*self.root,
                &path,
                OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW,
            ) {
                Ok(directory) => {
                    rustix::fs::futimens(&directory, &timestamps(time)).at("set the time of", &path)?;
                }
                // Replaced by something else later in the archive.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(error) => return Err(error).at("open", &path),
            }
        }
        Ok(())
    }

    /// An opaque root, said in whiteouts.
    fn hide_everything(&mut self) -> Result<()> {
        let mut below = Vec::new();
        for root in self.lowers.roots()? {
            below.extend(resolve::names(root).at("read", b"")?);
        }
        let root = Rc::clone(&self.root);
        below.iter().try_for_each(|name| self.hide(&root, name, name))
    }
}

/// Gives an open file or directory its owner, attributes and mode.
fn dress_open(fd: impl AsFd, path: &[u8], look: &Look<'_>) -> Result<()> {
    let (user, group) = (Uid::from_raw(look.user), Gid::from_raw(look.group));
    rustix::fs::fchown(&fd, Some(user), Some(group)).at("change the owner of", path)?;
    for (name, value) in look.xattrs {
        let set = rustix::fs::fsetxattr(&fd, &name[..], value, XattrFlags::empty());
        unless_unsupported(set).at("set an attribute of", path)?;
    }
    rustix::fs::fchmod(&fd, Mode::from_raw_mode(look.mode)).at("change the mode of", path)
}

/// Gives something that cannot be opened its owner, attributes, mode (a symbolic link has none) and time.
fn dress_named(parent: &OwnedFd, path: &[u8], name: &[u8], look: &Look<'_>, has_mode: bool) -> Result<()> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    let (user, group) = (Uid::from_raw(look.user), Gid::from_raw(look.group));
    rustix::fs::chownat(parent, name, Some(user), Some(group), flags).at("change the owner of", path)?;
    for (attribute, value) in look.xattrs {
        let set = rustix::fs::lsetxattr(path_in(parent, name), &attribute[..], value, XattrFlags::empty());
        unless_unsupported(set).at("set an attribute of", path)?;
    }
    if has_mode {
        rustix::fs::chmodat(parent, name, Mode::from_raw_mode(look.mode), AtFlags::empty())
            .at("change the mode of", path)?;
    }
    rustix::fs::utimensat(parent, name, &timestamps(look.time), flags).at("set the time of", path)
}

/// Not every file system has every attribute, and links and devices have no `user.` ones (`EPERM`, xattr(7)).
fn unless_unsupported(result: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match result {
        Err(Errno::NOTSUP | Errno::PERM) => Ok(()),
        result => result,
    }
}

/// Access time as well: an unpacked file has not been read.
fn timestamps((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// Whether user 0 is somebody else on the machine: anything but one map of everybody on themselves (user_namespaces(7)).
fn in_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    !map.is_empty() && !map.split_whitespace().eq(["0", "0", "4294967295"])
}
