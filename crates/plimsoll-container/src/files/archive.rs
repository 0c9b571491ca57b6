//! `cp` from and to a tar stream.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use plimsoll_runtime::IdMap;
use rustix::fs::{AtFlags, FileType, Stat, major, minor, readlinkat, statat};
use rustix::io::Errno;
use tar::{Builder, EntryType, Header};

use super::copy::{attributes, failure, kind, names, open_directory, open_file};
use super::place::Source;
use crate::{ContainerError, Result};

/// Writes what `source` names as a tar archive; with a map owners are those of the container.
pub(super) fn write(source: &Source, map: Option<&IdMap>, out: impl Write) -> Result<()> {
    let mut archive = Archive {
        tar: Builder::new(out),
        map,
        links: HashMap::new(),
    };
    match source {
        Source::Leaf { parent, entry, name } => archive.entry(parent.as_fd(), entry, Path::new(name))?,
        Source::Directory { directory, name } => {
            let name = name.as_deref().unwrap_or(OsStr::new("."));
            archive.directory(directory, Path::new(name))?;
        }
    }
    let failed = ContainerError::file("write", "the archive");
    archive
        .tar
        .into_inner()
        .and_then(|mut out| out.flush())
        .map_err(failed)
}

/// Unpacks an archive, compressed or not, into an empty folder, with owners and attributes.
pub(super) fn unpack(tar: impl Read + Send, folder: &Path) -> Result<()> {
    let tar = plimsoll_layer::decompress(tar).map_err(|error| ContainerError::Copy(error.to_string()))?;
    let mut archive = tar::Archive::new(tar);
    archive.set_preserve_permissions(true);
    archive.set_preserve_ownerships(true);
    archive.set_unpack_xattrs(true);
    archive
        .unpack(folder)
        .map_err(ContainerError::file("unpack the archive into", folder))
}

struct Archive<'a, W: Write> {
    tar: Builder<W>,
    map: Option<&'a IdMap>,
    /// First names of inodes that have several.
    links: HashMap<(u64, u64), PathBuf>,
}

impl<W: Write> Archive<'_, W> {
    fn directory(&mut self, directory: &OwnedFd, path: &Path) -> Result<()> {
        let failed = |error: Errno| failure(path, error);
        let stat = rustix::fs::fstat(directory).map_err(failed)?;
        self.attributes(directory.as_fd(), OsStr::new("."), path)?;
        // Names of folders end in a slash.
        self.append(
            self.header(&stat, EntryType::Directory),
            &path.join(""),
            io::empty(),
        )?;
        for name in names(directory).map_err(failed)? {
            self.entry(directory.as_fd(), &name, &path.join(&name))?;
        }
        Ok(())
    }

    fn entry(&mut self, parent: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<()> {
        let failed = |error: Errno| failure(path, error);
        let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        if kind(&stat) == FileType::Directory {
            return self.directory(&open_directory(parent, name).map_err(failed)?, path);
        }
        let inode = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&inode).cloned() {
                return self.link(self.header(&stat, EntryType::Link), path, &first);
            }
            self.links.insert(inode, path.to_owned());
        }
        match kind(&stat) {
            FileType::RegularFile => {
                let file = open_file(parent, name).map_err(failed)?;
                self.attributes(parent, name, path)?;
                let size = stat.st_size.cast_unsigned();
                let mut header = self.header(&stat, EntryType::Regular);
                header.set_size(size);
                // As many bytes as the header says, whatever happens to the file meanwhile.
                self.append(header, path, file.chain(io::repeat(0)).take(size))
            }
            FileType::Symlink => {
                let target = readlinkat(parent, name, Vec::new()).map_err(failed)?;
                let target = PathBuf::from(std::ffi::OsString::from_vec(target.into_bytes()));
                self.link(self.header(&stat, EntryType::Symlink), path, &target)
            }
            FileType::CharacterDevice => self.device(self.header(&stat, EntryType::Char), &stat, path),
            FileType::BlockDevice => self.device(self.header(&stat, EntryType::Block), &stat, path),
            FileType::Fifo => self.append(self.header(&stat, EntryType::Fifo), path, io::empty()),
            // A socket is nothing without its process.
            _ => Ok(()),
        }
    }

    /// Extended attributes come before the entry they belong to.
    fn attributes(&mut self, parent: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<()> {
        let attributes = attributes(parent, name).map_err(|error| failure(path, error))?;
        let records: Vec<_> = attributes
            .iter()
            .map(|(name, value)| (format!("SCHILY.xattr.{}", name.to_string_lossy()), value))
            .collect();
        let records = records
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()));
        self.tar
            .append_pax_extensions(records)
            .map_err(ContainerError::file("write", "the archive"))
    }

    fn device(&mut self, mut header: Header, stat: &Stat, path: &Path) -> Result<()> {
        let set = header
            .set_device_major(major(stat.st_rdev))
            .and_then(|()| header.set_device_minor(minor(stat.st_rdev)));
        set.map_err(ContainerError::file("write", path))?;
        self.append(header, path, io::empty())
    }

    fn link(&mut self, mut header: Header, path: &Path, target: &Path) -> Result<()> {
        let appended = self.tar.append_link(&mut header, path, target);
        appended.map_err(ContainerError::file("write", path))
    }

    fn append(&mut self, mut header: Header, path: &Path, content: impl Read) -> Result<()> {
        let appended = self.tar.append_data(&mut header, path, content);
        appended.map_err(ContainerError::file(
            "write",
            String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned(),
        ))
    }

    fn header(&self, stat: &Stat, kind: EntryType) -> Header {
        let owner = (stat.st_uid, stat.st_gid);
        let (uid, gid) = self.map.map_or(owner, |map| map.inner(owner.0, owner.1));
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(stat.st_mode & 0o7777);
        header.set_uid(uid.into());
        header.set_gid(gid.into());
        header.set_mtime(stat.st_mtime.try_into().unwrap_or(0));
        header.set_size(0);
        header
    }
}
