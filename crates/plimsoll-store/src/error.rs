//! What can go wrong with a store.

use std::io;
use std::path::PathBuf;

use camino::Utf8PathBuf;
use plimsoll_oci::Digest;

use crate::SnapshotId;

/// Result of a store operation.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Why a store operation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A call on a file or directory failed.
    #[error("cannot {operation} `{}`", path.display())]
    File {
        /// What was being done, as a verb: `open`, `create`.
        operation: &'static str,
        /// To what.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The database refused.
    #[error("cannot use the store's database")]
    Database(#[from] rusqlite::Error),
    /// A layer could not be read or written.
    #[error("cannot {operation} the layer of snapshot {snapshot}")]
    Layer {
        /// `unpack`, `archive` or `read`.
        operation: &'static str,
        /// Whose layer.
        snapshot: SnapshotId,
        /// What was wrong with it.
        #[source]
        source: plimsoll_layer::LayerError,
    },
    /// The store was made by a later version of the program.
    #[error("`{root}` has store layout {found}, this version of plimsoll knows layouts up to {known}")]
    FutureLayout {
        /// The store.
        root: Utf8PathBuf,
        /// Its layout version.
        found: u32,
        /// The highest this program reads.
        known: u32,
    },
    /// The file that names the layout is not what this program writes.
    #[error("`{path}` does not name a store layout")]
    DamagedLayout {
        /// The file.
        path: Utf8PathBuf,
    },
    /// The store would lie on a file system that cannot carry it.
    #[error(
        "`{root}` is on a {kind} file system; the store needs a local one for its database and for overlay mounts"
    )]
    NetworkFileSystem {
        /// The store.
        root: Utf8PathBuf,
        /// Name of the file system.
        kind: &'static str,
    },
    /// A blob's bytes are not what they were said to be.
    #[error("the bytes written have digest {actual}, expected {expected}")]
    WrongDigest {
        /// As announced.
        expected: Digest,
        /// As computed.
        actual: Digest,
    },
    /// A blob is not in the store.
    #[error("blob {digest} is not in the store")]
    MissingBlob {
        /// Which.
        digest: Digest,
    },
    /// A blob is larger than its reader allows.
    #[error("blob {digest} has {size} bytes, at most {limit} are read here")]
    BlobTooLarge {
        /// Which.
        digest: Digest,
        /// How large it is.
        size: u64,
        /// How large it may be.
        limit: u64,
    },
    /// A layer's tar is not the one the image names.
    #[error("the layer has diff id {actual}, the image says {expected}")]
    WrongDiffId {
        /// As the image says.
        expected: Digest,
        /// As computed.
        actual: Digest,
    },
    /// A snapshot's layer is no longer what it was when its digest was taken.
    #[error("the layer of snapshot {snapshot} has digest {actual}, it was recorded as {expected}")]
    LayerChanged {
        /// Which.
        snapshot: SnapshotId,
        /// As recorded.
        expected: Digest,
        /// As made now.
        actual: Digest,
    },
    /// A snapshot is not there, or not in the state asked for.
    #[error("snapshot {snapshot} is not in the store as {wanted} one")]
    MissingSnapshot {
        /// Which.
        snapshot: SnapshotId,
        /// `a committed`, `an active` or `any`.
        wanted: &'static str,
    },
    /// A snapshot with children cannot go.
    #[error("snapshot {snapshot} is the parent of other snapshots")]
    SnapshotInUse {
        /// Which.
        snapshot: SnapshotId,
    },
    /// A path in an image leads through more symbolic links than are followed.
    #[error("cannot resolve `{}` in the image", path.display())]
    TooManyLinks {
        /// The path asked for.
        path: PathBuf,
        /// Always ELOOP.
        #[source]
        source: io::Error,
    },
    /// A path that is to be removed does not belong to the store.
    #[error("`{path}` is not inside the store `{root}`")]
    OutsideStore {
        /// The path.
        path: Utf8PathBuf,
        /// The store.
        root: Utf8PathBuf,
    },
}

/// Adds operation and path to an [`io::Error`].
pub(crate) trait At<T> {
    /// `operation` is a verb that fits "cannot ... `path`".
    fn at(self, operation: &'static str, path: impl Into<PathBuf>) -> Result<T>;
}

impl<T, E: Into<io::Error>> At<T> for std::result::Result<T, E> {
    fn at(self, operation: &'static str, path: impl Into<PathBuf>) -> Result<T> {
        self.map_err(|source| StoreError::File {
            operation,
            path: path.into(),
            source: source.into(),
        })
    }
}
