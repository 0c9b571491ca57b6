//! ADD of a local archive: told by content, not by name.

use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use plimsoll_store::Entry;
use rustix::fs::{Timespec, Timestamps};

use super::writer::Change;
use super::{Owner, Writer};
use crate::error::OpError;

const BLOCK: usize = 512;
const BZIP2: &[u8] = b"BZh";
const XZ: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];

/// Tells whether a file is a tar archive, plain or compressed. bzip2 and xz are known but not read: an error, so
/// that nobody ships the archive instead of its files.
pub(super) fn is_archive(entry: &Entry) -> Result<bool, OpError> {
    let mut magic = [0; 6];
    let read = read_up_to(&mut entry.open()?, &mut magic).map_err(OpError::io("read", &entry.host_path))?;
    for (name, start) in [("bzip2", BZIP2), ("xz", XZ)] {
        if magic[..read].starts_with(start) {
            let path = entry.path.display();
            return Err(OpError::Copy(format!(
                "cannot unpack `{path}`: {name} is not supported yet, use gzip or zstd, or COPY"
            )));
        }
    }
    let mut block = [0; BLOCK];
    // What cannot be decompressed is not an archive: it is copied as it is.
    let Ok(mut reader) = plimsoll_layer::decompress(entry.open()?) else {
        return Ok(false);
    };
    let Ok(read) = read_up_to(&mut reader, &mut block) else {
        return Ok(false);
    };
    Ok(read == BLOCK && is_header(&block))
}

fn read_up_to(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

/// A tar header by its checksum: the sum of its bytes with the checksum field as blanks.
fn is_header(block: &[u8; BLOCK]) -> bool {
    let stored = std::str::from_utf8(&block[148..156]).ok();
    let stored = stored.and_then(|text| u32::from_str_radix(text.trim_matches(['\0', ' ']), 8).ok());
    let sum = (0..BLOCK)
        .map(|at| {
            if (148..156).contains(&at) {
                u32::from(b' ')
            } else {
                u32::from(block[at])
            }
        })
        .sum();
    stored == Some(sum)
}

/// Unpacks an archive into a directory: owners, modes and times are the archive's unless `change` says otherwise.
pub(super) fn unpack(
    writer: &mut Writer,
    archive: &Entry,
    destination: &Path,
    change: Change,
) -> Result<(), OpError> {
    let broken = |error| OpError::io("unpack", archive.path.clone())(error);
    let reader =
        plimsoll_layer::decompress(archive.open()?).map_err(|error| broken(io::Error::other(error)))?;
    let mut archive_reader = tar::Archive::new(reader);
    for member in archive_reader.entries().map_err(broken)? {
        let mut member = member.map_err(broken)?;
        let below = inside(&member.path().map_err(broken)?);
        if below.as_os_str().is_empty() {
            continue;
        }
        unpack_member(writer, &mut member, destination, &below, change).map_err(|error| match error {
            UnpackError::Op(error) => error,
            UnpackError::Read(error) => broken(error),
        })?;
    }
    Ok(())
}

enum UnpackError {
    Op(OpError),
    Read(io::Error),
}

impl From<OpError> for UnpackError {
    fn from(error: OpError) -> Self {
        Self::Op(error)
    }
}

impl From<io::Error> for UnpackError {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

fn unpack_member(
    writer: &mut Writer,
    member: &mut tar::Entry<'_, impl Read>,
    destination: &Path,
    below: &Path,
    change: Change,
) -> Result<(), UnpackError> {
    let header = member.header().clone();
    let owner = Owner {
        uid: u32::try_from(header.uid()?).unwrap_or(0),
        gid: u32::try_from(header.gid()?).unwrap_or(0),
    };
    // `change.owner` is root for every context file; only --chown replaces the archive's owners.
    let owner = change
        .owner
        .filter(|owner| *owner != Owner::default())
        .unwrap_or(owner);
    let mode = change.mode.unwrap_or(header.mode()? & 0o7777);
    let seconds = Timespec {
        tv_sec: i64::try_from(header.mtime()?).unwrap_or(0),
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: seconds,
        last_modification: seconds,
    };
    let parent = destination.join(below.parent().unwrap_or(Path::new("")));
    let parent = writer.tree().canonical(&parent).map_err(OpError::from)?;
    writer.directory(&parent, Owner::default())?;
    let path = parent.join(below.file_name().unwrap_or_default());
    match header.entry_type() {
        tar::EntryType::Directory => writer.make_directory(&path, owner, mode, times)?,
        tar::EntryType::Symlink => {
            let target = member
                .link_name()?
                .map(|target| target.into_owned())
                .unwrap_or_default();
            writer.make_symlink(&target, &path, owner, times)?;
        }
        tar::EntryType::Link => {
            let target = member
                .link_name()?
                .map(|target| inside(&target))
                .unwrap_or_default();
            let target = writer
                .tree()
                .canonical(&destination.join(target))
                .map_err(OpError::from)?;
            writer.make_link(&target, &path)?;
        }
        kind if kind.is_file() => writer.write_file(member, &path, owner, mode, Some(times))?,
        _ => {}
    }
    Ok(())
}

/// The path without root and `..`: nothing leaves the destination.
fn inside(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            _ => {}
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_stay_inside() {
        for (path, clean) in [
            ("a/b", "a/b"),
            ("/etc/passwd", "etc/passwd"),
            ("../../x", "x"),
            ("a/../../b", "b"),
            ("./", ""),
        ] {
            assert_eq!(inside(Path::new(path)), Path::new(clean));
        }
    }

    #[test]
    fn a_header_is_known_by_its_checksum() {
        let mut header = tar::Header::new_ustar();
        header.set_path("x").unwrap();
        header.set_cksum();
        let mut block = *header.as_bytes();
        assert!(is_header(&block));
        block[0] ^= 1;
        assert!(!is_header(&block));
    }
}
