//! Small binary files that are only ever worth something whole: a name, a body, and a digest of both.
//!
//! One that was torn, truncated or written by another version is as good as none. They are replaced by renaming, so
//! that readers see the old or the new one, and never synced: the digest says after a loss of power what they are
//! worth.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use plimsoll_oci::Digest;

const DIGEST: usize = 32;
/// Tells apart the threads of a process that save at once.
static SAVED: AtomicU64 = AtomicU64::new(0);

/// Builds a body.
#[derive(Default)]
pub(crate) struct Body(Vec<u8>);

impl Body {
    /// Starts a body of about this size.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// Adds a number.
    pub(crate) fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    /// Adds bytes whose number the reader knows.
    pub(crate) fn fixed(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Adds bytes with their number in front.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// Replaces the file at `path`.
    pub(crate) fn save(&self, name: &str, path: &Path) -> io::Result<()> {
        let mut sealed = [name.as_bytes(), &self.0].concat();
        let digest = Digest::of(&sealed);
        sealed.extend_from_slice(digest.as_bytes());
        let number = SAVED.fetch_add(1, Ordering::Relaxed);
        let partial = path.with_extension(format!("{}-{number}.partial", std::process::id()));
        let saved = fs::write(&partial, sealed).and_then(|()| fs::rename(&partial, path));
        if saved.is_err() {
            let _ = fs::remove_file(&partial);
        }
        saved
    }
}

/// Reads a body from its front.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Opens what [`Body::save`] wrote under this name; none if it is anything else.
    pub(crate) fn open(name: &str, file: &'a [u8]) -> Option<Self> {
        let (content, digest) = file.split_at_checked(file.len().checked_sub(DIGEST)?)?;
        let body = content.strip_prefix(name.as_bytes())?;
        (Digest::of(content).as_bytes() == digest).then_some(Self(body))
    }

    /// Tells whether all was read.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes a number.
    pub(crate) fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.fixed()?))
    }

    /// Takes as many bytes as the array has.
    pub(crate) fn fixed<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    /// Takes bytes that have their number in front.
    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let count = usize::try_from(self.number()?).ok()?;
        self.take(count)
    }

    /// Takes so many bytes.
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_damaged_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.index");
        let mut body = Body::default();
        body.number(7);
        body.bytes(b"seven");
        body.save("test 1", &path).unwrap();
        let whole = fs::read(&path).unwrap();
        let mut reader = Reader::open("test 1", &whole).unwrap();
        assert_eq!(reader.number(), Some(7));
        assert_eq!(reader.bytes(), Some(&b"seven"[..]));
        assert!(reader.is_empty());
        assert_eq!(reader.number(), None);
        assert!(Reader::open("test 2", &whole).is_none(), "another version");
        for end in 0..whole.len() {
            assert!(Reader::open("test 1", &whole[..end]).is_none(), "cut at {end}");
        }
        for at in 0..whole.len() {
            let mut torn = whole.clone();
            torn[at] ^= 1;
            assert!(Reader::open("test 1", &torn).is_none(), "torn at {at}");
        }
    }
}
