//! Tar stream <-> directory.
#![allow(missing_docs)]
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use plimsoll_oci::Digest;

#[derive(Debug, thiserror::Error)]
pub enum LayerError { #[error("io")] Io(#[from] std::io::Error) }
pub struct Applied { pub diff_id: Digest, pub tar_size: u64 }
/// Unpacks one uncompressed layer tar into `directory`, a fresh overlay layer directory: `.wh.x` becomes a 0:0 device, `.wh..wh..opq` the
/// xattr trusted.overlay.opaque. `lowers` (top first) give implicit parents their metadata and hard links to lower files their target.
pub fn apply(tar: impl Read, directory: &Path, lowers: &[PathBuf]) -> Result<Applied, LayerError> { let _ = (tar, directory, lowers); unimplemented!() }
/// Writes the tar of an overlay upper directory, reproducibly; returns diff_id and size of what was written.
pub fn diff(upper: &Path, out: impl Write) -> Result<Applied, LayerError> { let _ = (upper, out); unimplemented!() }
/// Returns a reader of the uncompressed bytes, told by the magic number: gzip, zstd or as it is.
pub fn decompress<'a>(reader: impl Read + Send + 'a) -> Result<Box<dyn Read + Send + 'a>, LayerError> { let _ = reader; unimplemented!() }
/// Digest of an upper directory without mtimes.
pub fn content_digest(upper: &Path) -> Result<Digest, LayerError> { let _ = upper; unimplemented!() }
/// Extended attributes of `path` (not followed), sorted by name, without overlay's own.
pub fn xattrs(path: &Path) -> std::io::Result<Vec<(std::ffi::OsString, Vec<u8>)>> { let _ = path; unimplemented!() }
