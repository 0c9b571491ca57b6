//! Images as things with names: pull, load, save, tag, list, remove.
//!
//! An [`Image`] is a manifest and a configuration, both blobs of the content store, for one platform. Its *id* is the
//! digest of the configuration, as Docker has it. Names point to manifests; a name belongs to one image, and an image
//! may have any number of names, or none.
//!
//! Nothing becomes visible before all of it is in the store and checked: [`Images::load`] and [`Images::obtain`] bring
//! blobs and snapshots first, under a lease, and then write the image with its names in one transaction. Killed before
//! that, they leave blobs nobody refers to, for the garbage collection.
//!
//! A layer is a blob as it came, and a snapshot. Layers that were built here are snapshots only: their tar is written
//! again whenever somebody wants it ([`Images::save`]).

mod adopt;
mod assemble;
mod document;
mod du;
mod error;
mod events;
mod find;
mod history;
mod import;
mod index;
mod layout;
mod load;
mod needs;
mod pack;
mod peek;
mod prune;
mod pull;
mod push;
mod remove;
mod rows;
mod save;
#[cfg(test)]
mod testing;
mod unpack;

use std::sync::Arc;

use plimsoll_oci::{Digest, ImageConfig, ImageManifest, ImageRef, MediaType};
use plimsoll_registry::Registry;
use plimsoll_store::Store;

pub use du::{DirectoryUsage, FileUsage, ImageUsage, LayerUsage, Waste, WasteCause};
pub use error::ImageError;
pub use history::Step;
pub use index::{
    ATTESTATION_MANIFEST, Attestation, Document, Index, IndexEntry, IndexForm, NewIndex, PREDICATE_TYPE,
    REFERENCE_DIGEST, REFERENCE_TYPE, is_attestation, purl,
};
pub use layout::layout_digest;
pub use pack::{PackedLayer, Packing};
pub use peek::Peeked;
pub use plimsoll_layer::{Compression, Encoding, EncodingError};
pub use pull::Pulled;
pub use push::{LayerPush, Pushed};
pub use remove::Removed;
pub use save::{Layout, Saved};

type Result<T, E = ImageError> = std::result::Result<T, E>;

/// All images of a store. Cheap to clone.
#[derive(Clone)]
pub struct Images {
    store: Store,
    registry: Arc<Registry>,
}

/// One image for one platform, in the store.
#[derive(Clone, Debug)]
pub struct Image {
    /// Digest of the configuration: Docker's image ID.
    pub id: Digest,
    /// Digest of the manifest.
    pub manifest_digest: Digest,
    /// The manifest.
    pub manifest: ImageManifest,
    /// The configuration.
    pub config: ImageConfig,
}

/// A line of `images`: an image under one of its names.
#[derive(Clone, Debug)]
pub struct ImageSummary {
    /// `name:tag`; `name@digest` if it was pulled and has lost its tag; nothing if it is nameless.
    pub name: Option<ImageRef>,
    /// The image.
    pub image: Image,
    /// Bytes of all layers' files; of an index, those of all its images that are here.
    pub size: u64,
    /// By which digest the registry of `name` gave it, or the index that `name` means.
    pub digest: Option<Digest>,
    /// The index that `name` means.
    pub index: Option<Digest>,
}

/// The two kinds of image archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveFormat {
    /// `docker save`'s: `manifest.json`, configurations and uncompressed layers.
    Docker,
    /// An OCI image layout as a tar archive.
    Oci,
}

impl Images {
    /// Returns the images of `store`, to be pulled through `registry`.
    pub fn new(store: &Store, registry: Arc<Registry>) -> Self {
        Self {
            store: store.clone(),
            registry,
        }
    }

    /// Gives what a name or id means another name, an index as a whole. Another image that had it loses it.
    pub fn retag(&self, source: &str, name: &ImageRef) -> Result<()> {
        let image = self.get(source)?;
        match self.index(source)? {
            Some(index) if name.digest().is_none() => {
                let names = std::slice::from_ref(name);
                self.register(&[rows::Registration {
                    names,
                    index: Some(&index),
                    ..self.registration(&image)?
                }])?;
                self.event("tag", &image.id.to_string(), &name.familiar());
                Ok(())
            }
            _ => self.tag(&image, name),
        }
    }

    /// Gives an image a name. Another image that had it loses it.
    pub fn tag(&self, image: &Image, name: &ImageRef) -> Result<()> {
        if name.digest().is_some() {
            return Err(ImageError::TagWithDigest(name.familiar()));
        }
        self.keep_as(image, std::slice::from_ref(name))?;
        self.event("tag", &image.id.to_string(), &name.familiar());
        Ok(())
    }

    /// Keeps an image that [`Images::assemble`] made, though it has no name.
    pub fn keep(&self, image: &Image) -> Result<()> {
        self.keep_as(image, &[])
    }

    /// Another process may have removed the image, nameless, since it was looked up: its row is written as well.
    fn keep_as(&self, image: &Image, names: &[ImageRef]) -> Result<()> {
        // What was built here is not on disk for certain before this.
        self.store.sync()?;
        self.register(&[rows::Registration {
            names,
            ..self.registration(image)?
        }])
    }

    /// The image as it is, without a name.
    fn registration<'a>(&self, image: &'a Image) -> Result<rows::Registration<'a>> {
        let media_type = image.manifest.media_type().as_ref();
        Ok(rows::Registration {
            image,
            media_type: media_type.unwrap_or(&MediaType::ImageManifest).to_string(),
            size: self.size(image)?,
            names: &[],
            pulled: None,
            index: None,
        })
    }

    fn register(&self, registrations: &[rows::Registration<'_>]) -> Result<()> {
        let now = plimsoll_store::now();
        self.store.db().write(|db| {
            for registration in registrations {
                // Removed and collected while it was in hand: a row without documents would be worse than an error.
                if let Some(digest) = rows::missing_document(db, registration.image)? {
                    let what = "image document";
                    return Err(ImageError::MissingBlob { what, digest });
                }
                registration.write(db, now)?;
            }
            Ok(())
        })
    }
}
