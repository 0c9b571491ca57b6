//! What stat(2) says of a file, as far as keys and copies need it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;

use crate::flat::{Body, Reader};

const KIND: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;
const SOCKET: u32 = 0o140_000;

/// Seconds and nanoseconds.
pub(crate) type Time = (i64, u32);

/// What stat(2) says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// With the kind of file.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    /// Blocks of 512 bytes that it takes.
    pub(crate) blocks: u64,
    pub(crate) mtime: Time,
    pub(crate) ctime: Time,
    pub(crate) dev: u64,
    pub(crate) ino: u64,
    pub(crate) nlink: u64,
    pub(crate) rdev: u64,
}

impl Stat {
    pub(crate) fn kind(&self) -> u32 {
        self.mode & KIND
    }

    pub(crate) fn permissions(&self) -> u32 {
        self.mode & 0o7777
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.kind() == DIRECTORY
    }

    pub(crate) fn is_file(&self) -> bool {
        self.kind() == REGULAR
    }

    pub(crate) fn is_symlink(&self) -> bool {
        self.kind() == SYMLINK
    }

    pub(crate) fn is_socket(&self) -> bool {
        self.kind() == SOCKET
    }

    /// Tells whether a file that was this is still the same, and nothing was written to it since.
    pub(crate) fn unchanged(&self, now: &Self) -> bool {
        self.same_file(now) && self.mode == now.mode && self.size == now.size && self.times() == now.times()
    }

    fn same_file(&self, other: &Self) -> bool {
        (self.dev, self.ino) == (other.dev, other.ino)
    }

    fn times(&self) -> [Time; 2] {
        [self.mtime, self.ctime]
    }

    /// Writes what tells whether a file changed.
    pub(crate) fn save_identity(&self, body: &mut Body) {
        let time = |(seconds, nanoseconds): Time| [seconds.cast_unsigned(), nanoseconds.into()];
        [self.dev, self.ino, self.mode.into(), self.size]
            .into_iter()
            .chain(time(self.mtime))
            .chain(time(self.ctime))
            .for_each(|number| body.number(number));
    }

    /// Reads that again; the rest is zero.
    pub(crate) fn load_identity(reader: &mut Reader<'_>) -> Option<Self> {
        let mut next = || reader.number();
        let (dev, ino, mode, size) = (next()?, next()?, u32::try_from(next()?).ok()?, next()?);
        let mut time = || Some((next()?.cast_signed(), u32::try_from(next()?).ok()?));
        Some(Self {
            mode,
            uid: 0,
            gid: 0,
            size,
            blocks: 0,
            mtime: time()?,
            ctime: time()?,
            dev,
            ino,
            nlink: 0,
            rdev: 0,
        })
    }
}

impl From<&Metadata> for Stat {
    fn from(metadata: &Metadata) -> Self {
        Self {
            mode: metadata.mode(),
            uid: metadata.uid(),
            gid: metadata.gid(),
            size: metadata.size(),
            blocks: metadata.blocks(),
            mtime: (metadata.mtime(), metadata.mtime_nsec() as u32),
            ctime: (metadata.ctime(), metadata.ctime_nsec() as u32),
            dev: metadata.dev(),
            ino: metadata.ino(),
            nlink: metadata.nlink(),
            rdev: metadata.rdev(),
        }
    }
}

impl From<&rustix::fs::Stat> for Stat {
    fn from(stat: &rustix::fs::Stat) -> Self {
        Self {
            mode: stat.st_mode,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: stat.st_size.cast_unsigned(),
            blocks: stat.st_blocks.cast_unsigned(),
            mtime: (stat.st_mtime, stat.st_mtime_nsec as u32),
            ctime: (stat.st_ctime, stat.st_ctime_nsec as u32),
            dev: stat.st_dev,
            ino: stat.st_ino,
            #[allow(clippy::useless_conversion, reason = "it is narrower on other processors")]
            nlink: u64::from(stat.st_nlink),
            rdev: stat.st_rdev,
        }
    }
}
