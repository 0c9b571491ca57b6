//! From a build's snapshots to an image.

use plimsoll_oci::{Descriptor, Digest, ImageConfig, MediaType};
use plimsoll_store::{LayerInfo, SnapshotId};

use crate::{Image, Images, Result, document, rows};

impl Images {
    /// Makes an image of `config`, whose diff ids are filled in here, on the snapshots that end in `top`.
    ///
    /// It is not listed before [`Images::tag`] or [`Images::keep`]; until then the caller's lease protects it. A layer
    /// that came compressed keeps that form, so that its digest stays the base image's; a layer built here is described
    /// uncompressed.
    pub fn assemble(&self, mut config: ImageConfig, top: Option<SnapshotId>) -> Result<Image> {
        self.store.protect()?;
        let layers = self.chain(top)?;
        config.rootfs.diff_ids = layers.iter().map(|(_, info)| info.diff_id).collect();
        let descriptors = loop {
            let (descriptors, compressed) = self.describe(&layers)?;
            // The base image may be removed meanwhile: what is described stays from here on.
            if self.store.content().touch(&compressed)? {
                break descriptors;
            }
        };
        let bytes = serde_json::to_vec(&config).expect("a configuration is JSON");
        let manifest = document::put_manifest(self.store.content(), &bytes, descriptors, true)?;
        self.read(manifest)
    }

    /// Returns the image without times after `latest`, in seconds since 1970, in the layers above the first `base`.
    ///
    /// The layers of the base image stay: they are others' work, and what everybody shares.
    pub fn until(&self, image: &Image, base: usize, latest: i64) -> Result<Image> {
        self.store.protect()?;
        let mut top = None;
        for (at, (snapshot, _)) in self.layers(image)?.into_iter().enumerate() {
            top = match at < base {
                true => Some(snapshot),
                false => Some(self.store.snapshots().until(snapshot, top, latest)?),
            };
        }
        self.assemble(image.config.clone(), top)
    }

    /// Returns the descriptors of layers, and those of their blobs that are in the store.
    fn describe(&self, layers: &[(SnapshotId, LayerInfo)]) -> Result<(Vec<Descriptor>, Vec<Digest>)> {
        let mut compressed = Vec::new();
        let mut descriptors = Vec::with_capacity(layers.len());
        for (_, info) in layers {
            let came = self
                .store
                .db()
                .read(|db| rows::layer_as_it_came(db, &info.diff_id))?;
            descriptors.push(match came {
                Some(layer) => {
                    compressed.push(document::digest_of(&layer, "a layer")?);
                    layer
                }
                None => Descriptor::new(MediaType::from(document::TAR_LAYER), info.tar_size, info.diff_id),
            });
        }
        Ok((descriptors, compressed))
    }
}
