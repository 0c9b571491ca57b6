//! The bytes of one file, moved inside the kernel.

use std::fs::File;
use std::io;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use crate::stat::Stat;

/// Copies all bytes: by sharing blocks where the file system can, holes as holes.
pub(super) fn copy(from: &File, to: &File, stat: &Stat, reflinks: &mut bool) -> io::Result<()> {
    if *reflinks && stat.size > 0 {
        match rustix::fs::ioctl_ficlone(to, from) {
            Ok(()) => return Ok(()),
            Err(_) => *reflinks = false,
        }
    }
    if stat.blocks * 512 < stat.size {
        return copy_sparse(from, to, stat.size);
    }
    // copy_file_range(2) where it works.
    io::copy(&mut &*from, &mut &*to).map(drop)
}

fn copy_sparse(from: &File, to: &File, size: u64) -> io::Result<()> {
    let mut at = 0;
    while at < size {
        let data = match rustix::fs::seek(from, SeekFrom::Data(at)) {
            Ok(data) => data,
            // Nothing but a hole up to the end.
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let end = rustix::fs::seek(from, SeekFrom::Hole(data))?.min(size);
        rustix::fs::seek(from, SeekFrom::Start(data))?;
        rustix::fs::seek(to, SeekFrom::Start(data))?;
        io::copy(&mut io::Read::take(from, end - data), &mut &*to)?;
        at = end;
    }
    to.set_len(size)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt as _, MetadataExt as _};

    use super::*;

    #[test]
    fn holes_stay_holes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sparse");
        let file = File::create(&path).unwrap();
        let size = 64 << 20;
        file.set_len(size).unwrap();
        file.write_all_at(b"begin", 1 << 20).unwrap();
        file.write_all_at(b"end", 40 << 20).unwrap();
        let from = File::open(&path).unwrap();
        let copy_path = directory.path().join("copy");
        let to = File::create(&copy_path).unwrap();
        copy(&from, &to, &Stat::from(&from.metadata().unwrap()), &mut false).unwrap();
        assert_eq!(std::fs::read(&copy_path).unwrap(), std::fs::read(&path).unwrap());
        assert!(to.metadata().unwrap().blocks() * 512 < 1 << 20);
    }

    #[test]
    fn an_empty_file_is_copied() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("empty");
        std::fs::write(&path, "").unwrap();
        let from = File::open(&path).unwrap();
        let to = File::create(directory.path().join("copy")).unwrap();
        copy(&from, &to, &Stat::from(&from.metadata().unwrap()), &mut true).unwrap();
        assert_eq!(to.metadata().unwrap().len(), 0);
    }
}
