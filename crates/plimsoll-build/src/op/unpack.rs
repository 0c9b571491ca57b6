//! ADD of a local archive: told by content, not by name.

use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Timespec, Timestamps};

use super::writer::open_file;
use super::{Owner, Writer};
use crate::archive::{BLOCK, decompressed, is_header, read_up_to};
use crate::error::OpError;

/// Extended attributes in pax records.
const XATTR_RECORD: &str = "SCHILY.xattr.";

/// Tells whether a file is a tar archive, plain or compressed.
pub(super) fn is_archive(host: &Path) -> Result<bool, OpError> {
    // What cannot be decompressed is not an archive: it is copied as it is.
    let Ok(mut reader) = decompressed(open_file(host)?) else {
        return Ok(false);
    };
    let mut block = [0; BLOCK];
    let Ok(read) = read_up_to(&mut reader, &mut block) else {
        return Ok(false);
    };
    Ok(read == BLOCK && is_header(&block))
}

/// Unpacks an archive into a directory. Owners, modes and times are the archive's; `--chown` replaces the owners,
/// `--chmod` nothing, as in BuildKit.
pub(super) fn unpack(
    writer: &mut Writer,
    host: &Path,
    destination: &Path,
    given: Option<Owner>,
) -> Result<(), OpError> {
    let broken = |error| OpError::io("unpack", host)(error);
    let mut archive = tar::Archive::new(decompressed(open_file(host)?).map_err(broken)?);
    for member in archive.entries().map_err(broken)? {
        let mut member = member.map_err(broken)?;
        let below = inside(&member.path().map_err(broken)?);
        if below.as_os_str().is_empty() {
            continue;
        }
        place(writer, &mut member, destination, &below, given).map_err(|error| match error {
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

/// Whom a member belongs to, its mode and its time.
struct Look {
    owner: Owner,
    mode: u32,
    times: Timestamps,
}

impl Look {
    fn of(header: &tar::Header, given: Option<Owner>) -> io::Result<Self> {
        let id = |number: u64| u32::try_from(number).unwrap_or(0);
        let owner = Owner {
            uid: id(header.uid()?),
            gid: id(header.gid()?),
        };
        let time = Timespec {
            tv_sec: i64::try_from(header.mtime()?).unwrap_or(0),
            tv_nsec: 0,
        };
        Ok(Self {
            owner: given.unwrap_or(owner),
            mode: header.mode()? & 0o7777,
            times: Timestamps {
                last_access: time,
                last_modification: time,
            },
        })
    }
}

fn place(
    writer: &mut Writer,
    member: &mut tar::Entry<'_, impl Read>,
    destination: &Path,
    below: &Path,
    given: Option<Owner>,
) -> Result<(), UnpackError> {
    let header = member.header().clone();
    let look = Look::of(&header, given)?;
    let canonical = |path: &Path| writer.tree().canonical(path).map_err(OpError::from);
    let parent = canonical(&destination.join(below.parent().unwrap_or(Path::new(""))))?;
    let path = parent.join(below.file_name().unwrap_or_default());
    let link = member
        .link_name()?
        .map(|target| target.into_owned())
        .unwrap_or_default();
    writer.directory(&parent, given.unwrap_or_default())?;
    match header.entry_type() {
        tar::EntryType::Directory => writer.make_directory(&path, look.owner, look.mode, look.times)?,
        tar::EntryType::Symlink => writer.make_symlink(&link, &path, look.owner, look.times)?,
        tar::EntryType::Link => {
            let target = writer.tree().canonical(&destination.join(inside(&link)));
            return Ok(writer.make_link(&target.map_err(OpError::from)?, &path)?);
        }
        tar::EntryType::Fifo | tar::EntryType::Char | tar::EntryType::Block => {
            let (kind, device) = special(&header)?;
            writer.make_special(kind, device, &path, look.owner, look.mode, look.times)?;
        }
        kind if kind.is_file() || kind == tar::EntryType::GNUSparse => {
            writer.write_file(member, &path, look.owner, look.mode, Some(look.times))?;
        }
        _ => return Ok(()),
    }
    set_xattrs(writer, member, &path)
}

fn special(header: &tar::Header) -> io::Result<(FileType, u64)> {
    let number = |number: io::Result<Option<u32>>| Ok::<_, io::Error>(number?.unwrap_or(0));
    let device = rustix::fs::makedev(number(header.device_major())?, number(header.device_minor())?);
    Ok(match header.entry_type() {
        tar::EntryType::Fifo => (FileType::Fifo, 0),
        tar::EntryType::Char => (FileType::CharacterDevice, device),
        _ => (FileType::BlockDevice, device),
    })
}

fn set_xattrs(
    writer: &Writer,
    member: &mut tar::Entry<'_, impl Read>,
    path: &Path,
) -> Result<(), UnpackError> {
    let Some(records) = member.pax_extensions()? else {
        return Ok(());
    };
    for record in records {
        let record = record?;
        let name = record.key().ok().and_then(|key| key.strip_prefix(XATTR_RECORD));
        if let Some(name) = name.filter(|name| plimsoll_layer::is_part_of_layer(name)) {
            writer.set_xattr(path, name, record.value_bytes())?;
        }
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
}
