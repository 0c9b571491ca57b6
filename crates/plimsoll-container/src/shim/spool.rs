//! Output waiting for a client that reads slowly.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// Bytes kept in memory before a file is used.
const MEMORY: usize = 1 << 20;
/// Bytes taken at a time.
const CHUNK: usize = 64 << 10;

/// A first-in-first-out queue of bytes with no end: past a mebibyte it goes on in an unlinked file.
///
/// So a client that stops reading neither stalls the container and its log, nor grows the shim, nor loses a byte.
pub(super) struct Spool {
    memory: VecDeque<u8>,
    folder: PathBuf,
    file: Option<Overflow>,
}

struct Overflow {
    file: File,
    read: u64,
    written: u64,
}

impl Spool {
    /// Makes an empty queue; `folder` takes the overflow.
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            memory: VecDeque::new(),
            folder: folder.to_owned(),
            file: None,
        }
    }

    /// Appends bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.file.is_none() && self.memory.len() + bytes.len() <= MEMORY {
            self.memory.extend(bytes);
            return Ok(());
        }
        let overflow = match &mut self.file {
            Some(overflow) => overflow,
            empty => empty.insert(Overflow {
                file: unlinked(&self.folder)?,
                read: 0,
                written: 0,
            }),
        };
        overflow.file.write_all_at(bytes, overflow.written)?;
        overflow.written += bytes.len() as u64;
        Ok(())
    }

    /// Takes up to 64 KiB, oldest first; None when there is nothing.
    pub(super) fn take(&mut self) -> io::Result<Option<Vec<u8>>> {
        if !self.memory.is_empty() {
            let count = self.memory.len().min(CHUNK);
            return Ok(Some(self.memory.drain(..count).collect()));
        }
        let Some(overflow) = &mut self.file else {
            return Ok(None);
        };
        let count = (overflow.written - overflow.read).min(CHUNK as u64);
        let mut bytes = vec![0; usize::try_from(count).expect("at most 64 KiB")];
        overflow.file.read_exact_at(&mut bytes, overflow.read)?;
        overflow.read += count;
        if overflow.read == overflow.written {
            self.file = None;
        }
        Ok(Some(bytes))
    }

    /// Returns whether nothing waits.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.memory.is_empty() && self.file.is_none()
    }
}

fn unlinked(folder: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let file = rustix::fs::open(
        folder,
        OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC,
        Mode::RUSR | Mode::WUSR,
    )?;
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_across_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(folder.path());
        let (mut expected, mut seen) = (Vec::new(), Vec::new());
        for round in 0..300_u32 {
            let bytes = round.to_be_bytes().repeat(4096);
            spool.push(&bytes).unwrap();
            expected.extend(bytes);
            if round % 12 == 0 {
                seen.extend(spool.take().unwrap().unwrap());
            }
        }
        assert!(spool.file.is_some(), "the test must overflow");
        while let Some(bytes) = spool.take().unwrap() {
            seen.extend(bytes);
        }
        assert!(seen == expected);
        assert!(spool.is_empty());
        spool.push(b"again").unwrap();
        assert_eq!(spool.take().unwrap().unwrap(), b"again");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
