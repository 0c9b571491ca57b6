//! What images need of the store: the garbage collection's question.

use plimsoll_oci::Digest;
use plimsoll_store::{DiskUsage, ImageNeeds};

use crate::{Image, ImageError, Images, Index, Result, document, rows};

impl Images {
    /// Returns what every image needs. An image that cannot be read needs what can be told from its row.
    pub fn needs(&self) -> Result<Vec<ImageNeeds>> {
        let stored = self.store.db().read(rows::documents)?;
        let needs = stored.into_iter().map(|(manifest, config)| {
            let mut needs = ImageNeeds {
                manifest,
                blobs: vec![manifest, config],
                top: None,
            };
            for index in self.store.db().read(|db| rows::indexes_of(db, &manifest))? {
                if let Some(index) = self.read_index(index)? {
                    needs.blobs.extend(self.attestation_blobs(&index)?);
                }
            }
            match self.read(manifest) {
                Ok(image) => complete(&mut needs, &image),
                Err(error @ (ImageError::Store(_) | ImageError::Database(_))) => return Err(error),
                // Damaged for good: nobody can say what its layers were.
                Err(_) => {}
            }
            Ok(needs)
        });
        needs.collect()
    }

    /// Has the leases of now protect an image's blobs, of which layers that were built here have none. Returns false when
    /// the image has been removed.
    pub(crate) fn touch(&self, image: &Image) -> Result<bool> {
        let mut needs = ImageNeeds {
            manifest: image.manifest_digest,
            blobs: Vec::new(),
            top: None,
        };
        complete(&mut needs, image);
        let content = self.store.content();
        content.touch_any(&needs.blobs)?;
        Ok(content.touch(&[image.manifest_digest, image.id])?)
    }

    /// As [`Images::touch`], of an index with all that is here of what it lists.
    pub(crate) fn touch_index(&self, index: &Index) -> Result<bool> {
        for image in self.images_of(index)? {
            self.touch(&image)?;
        }
        Ok(self.store.content().touch(&self.attestation_blobs(index)?)?)
    }

    /// Removes what no image needs any more; returns the bytes that came free.
    pub fn collect(&self) -> Result<u64> {
        self.store.collect(&|| self.needs())
    }

    /// Measures the store. An image counts as active while a container is made of it.
    pub fn disk_usage(&self) -> Result<DiskUsage> {
        let active = self.store.db().read(rows::of_containers)?;
        self.store
            .disk_usage(&|| self.needs(), &|manifest| active.contains(manifest))
    }
}

fn complete(needs: &mut ImageNeeds, image: &Image) {
    let layers = image.manifest.layers().iter();
    let layers = layers.filter_map(|layer| Digest::try_from(layer.digest()).ok());
    needs.blobs.extend(layers);
    needs.top = document::chain_ids(&image.config.rootfs.diff_ids).pop();
}
