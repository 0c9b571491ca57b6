//! Tar stream <-> directory: OCI layers as overlayfs has them.
//!
//! - [`apply`]: one layer archive into a fresh overlay layer directory;
//! - [`diff`]: such a directory into an archive, the same bytes every time;
//! - [`list`]: the names and sizes in such a directory;
//! - [`content_digest`]: what such a directory changes, as one digest that ignores times;
//! - [`decompress`]: the bytes below gzip or zstd;
//! - [`Encoding::pack`]: the bytes as gzip or zstd, the same on any number of threads.
//!
//! The two forms of a deletion ([OCI layer specification], overlayfs):
//!
//! | in the archive | in the directory |
//! | --- | --- |
//! | empty file `.wh.NAME` | character device 0:0 called `NAME` |
//! | empty file `DIR/.wh..wh..opq` | xattr `trusted.overlay.opaque=y` on `DIR` |
//!
//! **Digest-relevant bytes**, pinned by a test: entries sorted by path bytes, directories ending in a slash; ustar
//! headers without names of users; modification times in whole seconds, as containerd and Docker write them; pax
//! records, sorted, only for what a ustar header cannot hold and for extended attributes; two zero blocks at the end.
//!
//! **Extended attributes.** Kept are `security.capability` and `user.*`. The rest are facts of the host
//! (`security.selinux`, `trusted.*`) or overlay's own, which in a hostile layer could point out of it.
//!
//! [OCI layer specification]: https://github.com/opencontainers/image-spec/blob/main/layer.md

mod apply;
mod attributes;
mod compress;
mod compression;
mod content;
mod diff;
mod error;
mod header;
mod list;
mod lower;
mod read;
mod resolve;
mod sparse;
#[cfg(test)]
mod tests;
mod walk;

use plimsoll_oci::Digest;

pub use apply::apply;
pub use attributes::{is_opaque, is_part_of_layer, xattrs};
pub use compress::{Compressed, Compression, Compressor, Encoding, EncodingError};
pub use compression::decompress;
pub use content::content_digest;
pub use diff::{diff, diff_until, is_later};
pub use error::LayerError;
pub use list::{Listed, ListedKind, list};

/// A layer archive that was read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Digest of all its bytes.
    pub diff_id: Digest,
    /// How many there were.
    pub tar_size: u64,
}

/// Prefix of a deleted name in an archive.
const WHITEOUT: &[u8] = b".wh.";
/// Marks the directory it is in as hiding everything below.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Other names with this prefix are bookkeeping of AUFS.
const AUFS: &[u8] = b".wh..wh.";
