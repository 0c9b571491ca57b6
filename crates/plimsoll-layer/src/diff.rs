//! An overlay upper directory as an archive: the same bytes every time.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write};
use std::path::Path;

use plimsoll_oci::Hasher;
use rustix::fs::{FileType, Mode, OFlags, Stat};

use crate::Applied;
use crate::attributes::{path_in, xattrs};
use crate::error::{At as _, LayerError, Result};
use crate::header::{BLOCK, Fields, padding};
use crate::resolve::kind;
use crate::walk::{Found, walk};

/// Writes the tar of an overlay upper directory, reproducibly; returns diff id and size of what was written.
///
/// The directory itself is not in it, sockets are left out, names of one inode become hard links to the first.
pub fn diff(upper: &Path, out: impl Write) -> Result<Applied, LayerError> {
    diff_until(upper, i64::MAX, out)
}

/// As [`diff`], with `latest`, in seconds since 1970, for every modification time after it.
pub fn diff_until(upper: &Path, latest: i64, out: impl Write) -> Result<Applied, LayerError> {
    let out = Hashing {
        out,
        hasher: Hasher::new(),
        count: 0,
    };
    let mut archive = Archive {
        out: BufWriter::with_capacity(256 << 10, out),
        links: Links::default(),
        latest,
    };
    walk(upper, &mut |found| archive.add(found))?;
    archive.write(&[0; 2 * BLOCK])?;
    let out = archive
        .out
        .into_inner()
        .map_err(|error| LayerError::Write(error.into_error()))?;
    Ok(Applied {
        diff_id: out.hasher.finish(),
        tar_size: out.count,
    })
}

/// Tells whether anything in an overlay upper directory was modified after `latest`, in seconds since 1970.
pub fn is_later(upper: &Path, latest: i64) -> Result<bool, LayerError> {
    let mut later = false;
    walk(upper, &mut |found| {
        later |= found.stat.is_some_and(|stat| stat.st_mtime > latest);
        Ok(())
    })?;
    Ok(later)
}

/// First names of inodes that have more than one.
#[derive(Default)]
pub(crate) struct Links(HashMap<(u64, u64), Vec<u8>>);

impl Links {
    /// Returns the name under which the same inode came before.
    pub(crate) fn earlier(&mut self, stat: &Stat, path: &[u8]) -> Option<&[u8]> {
        if stat.st_nlink < 2 || kind(stat) == FileType::Directory {
            return None;
        }
        match self.0.entry((stat.st_dev, stat.st_ino)) {
            std::collections::hash_map::Entry::Occupied(first) => Some(first.into_mut()),
            std::collections::hash_map::Entry::Vacant(slot) => {
                slot.insert(path.to_vec());
                None
            }
        }
    }
}

struct Archive<W: Write> {
    out: BufWriter<Hashing<W>>,
    links: Links,
    latest: i64,
}

impl<W: Write> Archive<W> {
    fn add(&mut self, found: &Found<'_>) -> Result<()> {
        let Some(stat) = found.stat else {
            return self.add_mark(found.path);
        };
        let mut fields = Fields {
            path: found.path,
            link: b"",
            type_flag: b'0',
            mode: stat.st_mode & 0o7777,
            user: stat.st_uid,
            group: stat.st_gid,
            size: 0,
            time: stat.st_mtime.min(self.latest),
            device: (0, 0),
        };
        if let Some(first) = self.links.earlier(stat, found.path) {
            let first = first.to_vec();
            return self.header(
                &Fields {
                    link: &first,
                    type_flag: b'1',
                    ..fields
                },
                Vec::new(),
            );
        }
        let records = attributes(found)?;
        match kind(stat) {
            FileType::RegularFile => {
                fields.size = stat.st_size.cast_unsigned();
                self.header(&fields, records)?;
                self.content(found, fields.size)
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(found.parent, found.name, Vec::new())
                    .at("read the link", found.path)?;
                self.header(
                    &Fields {
                        link: target.as_bytes(),
                        type_flag: b'2',
                        ..fields
                    },
                    records,
                )
            }
            other => {
                fields.device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
                fields.type_flag = match other {
                    FileType::CharacterDevice => b'3',
                    FileType::BlockDevice => b'4',
                    FileType::Directory => b'5',
                    _ => b'6',
                };
                if other == FileType::Directory || other == FileType::Fifo {
                    fields.device = (0, 0);
                }
                self.header(&fields, records)
            }
        }
    }

    /// A deletion or an opaque mark: an empty file.
    fn add_mark(&mut self, path: &[u8]) -> Result<()> {
        let mark = Fields {
            path,
            link: b"",
            type_flag: b'0',
            mode: 0,
            user: 0,
            group: 0,
            size: 0,
            time: 0,
            device: (0, 0),
        };
        self.header(&mark, Vec::new())
    }

    fn header(&mut self, fields: &Fields<'_>, records: Vec<(Vec<u8>, Vec<u8>)>) -> Result<()> {
        let mut bytes = Vec::with_capacity(BLOCK);
        fields.write(records, &mut bytes);
        self.write(&bytes)
    }

    fn content(&mut self, found: &Found<'_>, size: u64) -> Result<()> {
        let file = open(found)?;
        let mut content = file.take(size);
        let mut buffer = [0; 64 << 10];
        let mut left = size;
        while left > 0 {
            let count = match content.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result.at("read", found.path)?,
            };
            if count == 0 {
                return Err(changed(found.path));
            }
            self.write(&buffer[..count])?;
            left -= count as u64;
        }
        self.write(&[0; BLOCK][..padding(size)])
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(LayerError::Write)
    }
}

/// Opens a regular file. In a container that runs a fifo may be in its place by now, which would have us wait, or a disk.
pub(crate) fn open(found: &Found<'_>) -> Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(found.parent, found.name, flags, Mode::empty()).at("open", found.path)?;
    match kind(&rustix::fs::fstat(&file).at("examine", found.path)?) {
        FileType::RegularFile => Ok(File::from(file)),
        _ => Err(changed(found.path)),
    }
}

fn changed(path: &[u8]) -> LayerError {
    use std::os::unix::ffi::OsStrExt as _;
    let path = Path::new(std::ffi::OsStr::from_bytes(path)).to_owned();
    LayerError::Changed { path }
}

/// Extended attributes as pax records.
fn attributes(found: &Found<'_>) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let found = xattrs(&path_in(found.parent, found.name)).at("read the attributes of", found.path)?;
    let record = |(name, value): (std::ffi::OsString, _)| {
        ([b"SCHILY.xattr.", name.as_encoded_bytes()].concat(), value)
    };
    Ok(found.into_iter().map(record).collect())
}

/// Hashes and counts what is written through it.
struct Hashing<W> {
    out: W,
    hasher: Hasher,
    count: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
