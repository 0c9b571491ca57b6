//! Images as things with names.
#![allow(missing_docs)]
use plimsoll_oci::{Digest, ImageConfig, ImageManifest, ImageRef, Platform};
use plimsoll_progress::Progress;
use plimsoll_registry::Registry;
use plimsoll_store::{SnapshotId, Store};
use std::io::{Read, Write};
use std::sync::Arc;

#[derive(Debug, thiserror::Error)]
pub enum ImageError { #[error("io")] Io(#[from] std::io::Error), #[error("store")] Store(#[from] plimsoll_store::StoreError), #[error("db")] Db(#[from] rusqlite::Error) }
/// Cheap to clone.
#[derive(Clone)]
pub struct Images { pub store: Store, pub registry: Arc<Registry> }
/// One image for one platform, in the store.
#[derive(Clone, Debug)]
pub struct Image { /// Digest of the config: Docker's image ID.
    pub id: Digest, pub manifest_digest: Digest, pub manifest: ImageManifest, pub config: ImageConfig }
/// A line of `images`.
#[derive(Clone, Debug)]
pub struct ImageSummary { pub name: Option<ImageRef>, pub image: Image, pub size: u64, pub digest: Option<Digest> }
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveFormat { Docker, Oci }
impl Images {
    pub fn new(store: &Store, registry: Arc<Registry>) -> Self { Self { store: store.clone(), registry } }
    /// By name, `name@digest`, full id, or unambiguous id prefix.
    pub fn find(&self, name: &str) -> Result<Option<Image>, ImageError> { let _ = name; unimplemented!() }
    /// As `find` with an error that has a "did you mean".
    pub fn get(&self, name: &str) -> Result<Image, ImageError> { let _ = name; unimplemented!() }
    /// The stored image for `platform`, pulled when it is not there (or when `always`).
    pub async fn obtain(&self, reference: &ImageRef, platform: &Platform, always: bool, progress: &Progress) -> Result<Image, ImageError> { let _ = (reference, platform, always, progress); unimplemented!() }
    pub fn list(&self) -> Result<Vec<ImageSummary>, ImageError> { unimplemented!() }
    pub fn names(&self, image: &Image) -> Result<Vec<ImageRef>, ImageError> { let _ = image; unimplemented!() }
    pub fn tag(&self, image: &Image, name: &ImageRef) -> Result<(), ImageError> { let _ = (image, name); unimplemented!() }
    /// Bytes of all layers, uncompressed: Docker's Size.
    pub fn size(&self, image: &Image) -> Result<u64, ImageError> { let _ = image; unimplemented!() }
    /// Snapshot of the top layer; layers not yet unpacked are unpacked. None for an image without layers.
    pub fn snapshot(&self, image: &Image) -> Result<Option<SnapshotId>, ImageError> { let _ = image; unimplemented!() }
    /// Makes an unnamed image of `config` (its diff_ids are filled in here) on the snapshot chain ending in `top`.
    pub fn assemble(&self, config: ImageConfig, top: Option<SnapshotId>) -> Result<Image, ImageError> { let _ = (config, top); unimplemented!() }
    /// Docker or OCI archive; everything is checked before anything is named. Returns what was loaded with its names.
    pub fn load(&self, archive: &mut dyn Read, progress: &Progress) -> Result<Vec<(Image, Vec<ImageRef>)>, ImageError> { let _ = (archive, progress); unimplemented!() }
    pub fn save(&self, images: &[(Image, Vec<ImageRef>)], format: ArchiveFormat, out: &mut dyn Write) -> Result<(), ImageError> { let _ = (images, format, out); unimplemented!() }
}
