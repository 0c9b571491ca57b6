//! Blobs by digest: `content/` is an OCI image layout without an index.
//!
//! A blob is written to `ingest/`, synced, hard-linked to its name and only then gets its row, so that a crash at any
//! moment leaves no row without a blob. Blobs never change. Files in `ingest/` are locked while someone writes to them;
//! one that is not locked is either the resumable part of a download (named by its digest) or rubbish (any other name).

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use plimsoll_oci::{Digest, Hasher};
use rusqlite::{OptionalExtension as _, params};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{At, Result, StoreError};
use crate::home::{Home, now, random_name};

/// Blobs by digest. Cheap to clone.
#[derive(Clone)]
pub struct ContentStore {
    pub(crate) home: Arc<Home>,
}

impl ContentStore {
    /// Returns the size of a blob that is in the store.
    pub fn size(&self, digest: &Digest) -> Result<Option<u64>> {
        self.home.db.read(|db| {
            let mut find = db.prepare_cached("SELECT size FROM blob WHERE digest = ?1")?;
            Ok(find
                .query_row([digest.to_string()], |row| row.get(0))
                .optional()?)
        })
    }

    /// Opens a blob for reading.
    pub fn open(&self, digest: &Digest) -> Result<File> {
        match File::open(self.path(digest)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StoreError::MissingBlob { digest: *digest })
            }
            result => result.at("open", self.path(digest)),
        }
    }

    /// Reads a whole blob, refused above `limit` bytes.
    pub fn read(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>> {
        let mut file = self.open(digest)?;
        let path = self.path(digest);
        let size = file.metadata().at("examine", &path)?.len();
        if size > limit {
            return Err(StoreError::BlobTooLarge {
                digest: *digest,
                size,
                limit,
            });
        }
        let mut bytes = Vec::with_capacity(size as usize);
        file.read_to_end(&mut bytes).at("read", &path)?;
        Ok(bytes)
    }

    /// Stores `bytes`, which may be there already.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        if !self.touch(&[digest])? {
            let mut ingest = self.ingest(None)?;
            ingest.write_all(bytes).at("write", &ingest.path)?;
            ingest.commit()?;
        }
        Ok(digest)
    }

    /// Tells whether all these blobs are in the store, and if so has the leases of now protect them as if they were new.
    pub fn touch(&self, digests: &[Digest]) -> Result<bool> {
        self.home.db.write(|tx| {
            let mut touch = tx.prepare_cached("UPDATE blob SET created = ?2 WHERE digest = ?1")?;
            for digest in digests {
                if touch.execute(params![digest.to_string(), now()])? == 0 {
                    return Ok(false);
                }
            }
            Ok(true)
        })
    }

    /// As [`ContentStore::touch`] for those of the blobs that are there.
    pub fn touch_any(&self, digests: &[Digest]) -> Result<()> {
        self.home.db.write(|tx| {
            let mut touch = tx.prepare_cached("UPDATE blob SET created = ?2 WHERE digest = ?1")?;
            for digest in digests {
                touch.execute(params![digest.to_string(), now()])?;
            }
            Ok(())
        })
    }

    /// Begins a new blob, written piece by piece. With `expected`, the bytes are verified at the end, and a partial
    /// file of an earlier attempt is continued: see [`Ingest::offset`].
    ///
    /// When another process is at the same blob, this one starts from nothing beside it rather than wait.
    pub fn ingest(&self, expected: Option<Digest>) -> Result<Ingest> {
        if let Some(digest) = expected {
            let path = self.home.root.join("content/ingest").join(digest.hex());
            if let Some(file) = claim(&path)? {
                return Ingest::resume(Arc::clone(&self.home), file, path, digest);
            }
        }
        loop {
            let path = self.home.root.join("content/ingest").join(random_name()?);
            if let Some(file) = claim(&path)? {
                return Ok(Ingest::new(Arc::clone(&self.home), file, path, expected, false));
            }
        }
    }

    /// Removes a blob; fine when it is not there. The caller knows that nothing names it any more.
    pub fn remove(&self, digest: &Digest) -> Result<()> {
        let _collecting = self.home.collecting()?;
        self.home.db.write(|tx| -> Result<()> {
            tx.execute("DELETE FROM blob WHERE digest = ?1", [digest.to_string()])?;
            Ok(())
        })?;
        crate::trash::remove_all(&self.path(digest))
    }

    /// Removes what processes that died left in `ingest/`, but for what a later download can continue.
    pub(crate) fn sweep_ingest(&self) -> Result<()> {
        let directory = self.home.root.join("content/ingest");
        for entry in directory.read_dir_utf8().at("read", &directory)? {
            let entry = entry.at("read", &directory)?;
            if Digest::from_hex(entry.file_name()).is_err() {
                // Claiming it again locks it; what a living process writes to stays locked and is left alone.
                if claim(entry.path())?.is_some() {
                    crate::trash::remove_all(entry.path())?;
                }
            }
        }
        Ok(())
    }

    fn path(&self, digest: &Digest) -> Utf8PathBuf {
        self.home.root.join("content/blobs/sha256").join(digest.hex())
    }
}

/// Opens or makes an ingest file and locks it; none when somebody else has it.
fn claim(path: &Utf8Path) -> Result<Option<File>> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    loop {
        let mode = Mode::from_raw_mode(0o644);
        let file = File::from(rustix::fs::open(path.as_std_path(), flags, mode).at("create", path)?);
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Ok(None),
            result => result.at("lock", path)?,
        }
        // Between open and flock its last owner may have linked it in as a blob and given up this name.
        if !crate::lock::is_named(&file, path)? {
            continue;
        }
        if file.metadata().at("examine", path)?.nlink() == 1 {
            return Ok(Some(file));
        }
        // Its owner died in between: these bytes are a blob already, and a blob is never written to.
        fs::remove_file(path).at("remove", path)?;
    }
}

/// A blob being written; a [`std::io::Write`]. Dropped without commit it keeps a resumable part only if `expected` was
/// given.
pub struct Ingest {
    home: Arc<Home>,
    file: File,
    path: Utf8PathBuf,
    expected: Option<Digest>,
    hasher: Hasher,
    offset: u64,
    resumable: bool,
    finished: bool,
}

impl Ingest {
    fn new(
        home: Arc<Home>,
        file: File,
        path: Utf8PathBuf,
        expected: Option<Digest>,
        resumable: bool,
    ) -> Self {
        Self {
            home,
            file,
            path,
            expected,
            hasher: Hasher::new(),
            offset: 0,
            resumable,
            finished: false,
        }
    }

    fn resume(home: Arc<Home>, file: File, path: Utf8PathBuf, expected: Digest) -> Result<Self> {
        let mut ingest = Self::new(home, file, path, Some(expected), true);
        ingest.offset = io::copy(&mut ingest.file, &mut ingest.hasher).at("read", &ingest.path)?;
        Ok(ingest)
    }

    /// Returns how many bytes are there already.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Starts again from nothing.
    pub fn restart(&mut self) -> Result<()> {
        self.file
            .set_len(0)
            .and_then(|()| self.file.seek(SeekFrom::Start(0)))
            .at("truncate", &self.path)?;
        self.hasher = Hasher::new();
        self.offset = 0;
        Ok(())
    }

    /// Verifies the digest, makes the bytes durable, gives them their name, and last their row.
    ///
    /// A wrong digest is an error naming both, and the partial file goes: continuing it would not help.
    pub fn commit(mut self) -> Result<(Digest, u64)> {
        let actual = std::mem::take(&mut self.hasher).finish();
        if let Some(expected) = self.expected.filter(|expected| *expected != actual) {
            self.resumable = false;
            return Err(StoreError::WrongDigest { expected, actual });
        }
        self.file.sync_all().at("sync", &self.path)?;
        let blob = self.home.root.join("content/blobs/sha256").join(actual.hex());
        let _linking = self.home.linking()?;
        match fs::hard_link(&self.path, &blob) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(error).at("create", &blob);
            }
            _ => {}
        }
        let directory = self.home.root.join("content/blobs/sha256");
        File::open(&directory)
            .and_then(|directory| directory.sync_all())
            .at("sync", &directory)?;
        self.record(&actual)?;
        self.finished = true;
        Ok((actual, self.offset))
    }

    fn record(&self, digest: &Digest) -> Result<()> {
        self.home.db.write(|tx| {
            let statement = "INSERT INTO blob (digest, size, created) VALUES (?1, ?2, ?3) \
                             ON CONFLICT (digest) DO UPDATE SET created = excluded.created";
            tx.prepare_cached(statement)?
                .execute(params![digest.to_string(), self.offset, now()])?;
            Ok(())
        })
    }
}

impl Write for Ingest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.offset += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Ingest {
    /// Runs while the file is still locked.
    fn drop(&mut self) {
        if self.finished || !self.resumable {
            let _ = fs::remove_file(&self.path);
        }
    }
}
