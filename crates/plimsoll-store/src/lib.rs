//! Everything on disk.
#![allow(missing_docs)]
use camino::{Utf8Path, Utf8PathBuf};
use std::path::{Path, PathBuf};
use plimsoll_oci::Digest;

#[derive(Debug, thiserror::Error)]
pub enum StoreError { #[error("io")] Io(#[from] std::io::Error), #[error("db")] Db(#[from] rusqlite::Error) }
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Cheap to clone.
#[derive(Clone)]
pub struct Store;
impl Store {
    /// Opens or makes the store. `root`: state; `run`: run-time folder.
    pub fn open(root: &Utf8Path, run: &Utf8Path) -> Result<Self> { let _ = (root, run); unimplemented!() }
    pub fn root(&self) -> &Utf8Path { unimplemented!() }
    pub fn run(&self) -> &Utf8Path { unimplemented!() }
    /// Random, made with the store; names bridges, cgroups and tables.
    pub fn instance(&self) -> u32 { unimplemented!() }
    pub fn content(&self) -> &ContentStore { unimplemented!() }
    pub fn snapshots(&self) -> &Snapshots { unimplemented!() }
    pub fn db(&self) -> &Db { unimplemented!() }
    /// A lock file `locks/<name>`, waited for; released on drop. `try_lock` gives None when held.
    pub fn lock(&self, name: &str) -> Result<Lock> { let _ = name; unimplemented!() }
    pub fn try_lock(&self, name: &str) -> Result<Option<Lock>> { let _ = name; unimplemented!() }
    /// Protects what it names from garbage collection until dropped.
    pub fn lease(&self) -> Result<Lease> { unimplemented!() }
    /// Moves a path of the store into trash/ and removes it.
    pub fn discard(&self, path: &Utf8Path) -> Result<()> { let _ = path; unimplemented!() }
}
pub struct Lock;
pub struct Lease;

/// SQLite: WAL, `BEGIN IMMEDIATE` for writes.
pub struct Db;
impl Db {
    pub fn read<T, E: From<rusqlite::Error>>(&self, work: impl FnOnce(&rusqlite::Connection) -> Result<T, E>) -> Result<T, E> { let _ = work; unimplemented!() }
    /// One short write transaction; rolled back on error.
    pub fn write<T, E: From<rusqlite::Error>>(&self, work: impl FnOnce(&rusqlite::Transaction<'_>) -> Result<T, E>) -> Result<T, E> { let _ = work; unimplemented!() }
}

pub struct ContentStore;
impl ContentStore {
    pub fn size(&self, digest: &Digest) -> Result<Option<u64>> { let _ = digest; unimplemented!() }
    pub fn open(&self, digest: &Digest) -> Result<std::fs::File> { let _ = digest; unimplemented!() }
    /// Whole blob, refused above `limit` bytes.
    pub fn read(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>> { let _ = (digest, limit); unimplemented!() }
    pub fn put(&self, bytes: &[u8]) -> Result<Digest> { let _ = bytes; unimplemented!() }
    /// A new blob, written piece by piece. With `expected`, a partial file of an earlier attempt is continued: see [`Ingest::offset`].
    pub fn ingest(&self, expected: Option<Digest>) -> Result<Ingest> { let _ = expected; unimplemented!() }
}
/// `std::io::Write`; dropped without commit it keeps a resumable partial only if `expected` was given.
pub struct Ingest;
impl Ingest {
    /// Bytes already there.
    pub fn offset(&self) -> u64 { unimplemented!() }
    /// Starts again from nothing.
    pub fn restart(&mut self) -> Result<()> { unimplemented!() }
    /// fsync, verify, link in, row.
    pub fn commit(self) -> Result<(Digest, u64)> { unimplemented!() }
}
impl std::io::Write for Ingest { fn write(&mut self, b: &[u8]) -> std::io::Result<usize> { let _ = b; unimplemented!() } fn flush(&mut self) -> std::io::Result<()> { Ok(()) } }

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct SnapshotId(pub i64);
pub struct Snapshots;
impl Snapshots {
    /// A writable snapshot on `parent`. Dropped without commit it is discarded; one whose process died is swept by the next command.
    pub fn prepare(&self, parent: Option<SnapshotId>) -> Result<ActiveSnapshot> { let _ = parent; unimplemented!() }
    pub fn commit(&self, active: ActiveSnapshot) -> Result<SnapshotId> { let _ = active; unimplemented!() }
    /// Unpacks a layer: prepare, apply, check `diff_id`, commit with the chain id. Finds the committed one if it is there.
    pub fn unpack(&self, parent: Option<SnapshotId>, diff_id: Digest, tar: &mut dyn std::io::Read) -> Result<SnapshotId> { let _ = (parent, diff_id, tar); unimplemented!() }
    pub fn by_chain_id(&self, chain_id: &Digest) -> Result<Option<SnapshotId>> { let _ = chain_id; unimplemented!() }
    pub fn parent(&self, id: SnapshotId) -> Result<Option<SnapshotId>> { let _ = id; unimplemented!() }
    /// Layer directories, top first, as overlay's lowerdir wants them.
    pub fn layers(&self, id: SnapshotId) -> Result<Vec<PathBuf>> { let _ = id; unimplemented!() }
    /// Digest and size of the layer's tar; computed on first use and kept in its row.
    pub fn layer(&self, id: SnapshotId) -> Result<LayerInfo> { let _ = id; unimplemented!() }
    /// Writes the layer's tar, and fails naming the snapshot if it is not what `layer` says.
    pub fn write_layer(&self, id: SnapshotId, out: &mut dyn std::io::Write) -> Result<LayerInfo> { let _ = (id, out); unimplemented!() }
    /// A snapshot that a container keeps writing to; survives this process. Removed with `remove`.
    pub fn prepare_container(&self, parent: Option<SnapshotId>, container: &str) -> Result<SnapshotId> { let _ = (parent, container); unimplemented!() }
    pub fn directories(&self, id: SnapshotId) -> Result<(PathBuf, PathBuf)> { let _ = id; unimplemented!() }
    pub fn remove(&self, id: SnapshotId) -> Result<()> { let _ = id; unimplemented!() }
}
#[derive(Clone, Copy, Debug)]
pub struct LayerInfo { pub diff_id: Digest, pub chain_id: Digest, pub tar_size: u64 }
pub struct ActiveSnapshot;
impl ActiveSnapshot {
    pub fn upper(&self) -> &Path { unimplemented!() }
    pub fn work(&self) -> &Path { unimplemented!() }
    /// Parent's layer directories, top first.
    pub fn lowers(&self) -> &[PathBuf] { unimplemented!() }
}

/// The root file system that a stack of layer directories shows, read without mounting: whiteouts and opaque directories
/// honoured, symlinks resolved within the root.
pub struct MergedTree;
impl MergedTree {
    pub fn new(layers: Vec<PathBuf>) -> Self { let _ = layers; unimplemented!() }
    /// Looks `path` up without following a final symlink; None when it does not exist. Intermediate symlinks are followed inside the root.
    pub fn lookup(&self, path: &Path) -> Result<Option<Entry>> { let _ = path; unimplemented!() }
    /// As `lookup`, following a final symlink too.
    pub fn resolve(&self, path: &Path) -> Result<Option<Entry>> { let _ = path; unimplemented!() }
    /// The absolute path with every symlink resolved inside the root; components that do not exist are appended as they are.
    pub fn canonical(&self, path: &Path) -> Result<PathBuf> { let _ = path; unimplemented!() }
    /// Sorted names.
    pub fn read_dir(&self, directory: &Entry) -> Result<Vec<std::ffi::OsString>> { let _ = directory; unimplemented!() }
}
/// One file, directory or link of a [`MergedTree`].
#[derive(Clone, Debug)]
pub struct Entry {
    /// Absolute path in the image with symlinks resolved.
    pub path: PathBuf,
    /// Where its (topmost) bytes are on the host.
    pub host_path: PathBuf,
    pub metadata: std::fs::Metadata,
}
pub fn default_root() -> Utf8PathBuf { "/var/lib/plimsoll".into() }
