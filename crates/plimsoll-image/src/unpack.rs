//! From layers to snapshots.

use std::path::PathBuf;

use plimsoll_oci::{Descriptor, Digest};
use plimsoll_store::{LayerInfo, SnapshotId};

use crate::{Image, ImageError, Images, Result, document, rows};

impl Images {
    /// Returns the snapshot of the top layer; layers that are not unpacked yet are unpacked now. `None` for an image
    /// without layers.
    pub fn snapshot(&self, image: &Image) -> Result<Option<SnapshotId>> {
        let chain = document::chain_ids(&image.config.rootfs.diff_ids);
        if let Some(top) = chain.last()
            && let Some(snapshot) = self.store.snapshots().by_chain_id(top)?
        {
            return Ok(Some(snapshot));
        }
        let mut parent = None;
        let layers = image.manifest.layers().iter().zip(&image.config.rootfs.diff_ids);
        for ((layer, diff_id), chain_id) in layers.zip(&chain) {
            parent = Some(self.unpack_layer(parent, layer, *diff_id, chain_id)?);
        }
        Ok(parent)
    }

    /// Unpacks one layer on its parent, unless that has been done.
    pub(crate) fn unpack_layer(
        &self,
        parent: Option<SnapshotId>,
        layer: &Descriptor,
        diff_id: Digest,
        chain_id: &Digest,
    ) -> Result<SnapshotId> {
        if let Some(snapshot) = self.store.snapshots().by_chain_id(chain_id)?
            && self.store.snapshots().hold(snapshot)?
        {
            return Ok(snapshot);
        }
        let digest = document::digest_of(layer, "a layer")?;
        if self.store.content().size(&digest)?.is_none() {
            return Err(ImageError::MissingBlob {
                what: "layer",
                digest,
            });
        }
        let blob = self.store.content().open(&digest)?;
        let mut tar =
            plimsoll_layer::decompress(blob).map_err(|source| ImageError::ReadLayer { digest, source })?;
        let unpacked = self.store.snapshots().unpack(parent, diff_id, &mut *tar);
        unpacked.map_err(|source| ImageError::Unpack { digest, source })
    }

    /// As [`Images::snapshot`], and what is returned is protected from collection while this process has the store open.
    pub fn hold(&self, image: &Image) -> Result<Option<SnapshotId>> {
        loop {
            match self.snapshot(image)? {
                Some(snapshot) if !self.store.snapshots().hold(snapshot)? => {}
                held => return Ok(held),
            }
        }
    }

    /// Returns the bytes of all layers' files: Docker's Size.
    pub fn size(&self, image: &Image) -> Result<u64> {
        match self
            .store
            .db()
            .read(|db| rows::size_of(db, &image.manifest_digest))?
        {
            Some(size) => Ok(size),
            None => Ok(self.layer_sizes(image)?.iter().sum()),
        }
    }

    /// Returns the bytes of each layer's files, base first.
    pub fn layer_sizes(&self, image: &Image) -> Result<Vec<u64>> {
        Ok(self.layers(image)?.iter().map(|(_, info)| info.size).collect())
    }

    /// Returns the snapshots of the layers, base first.
    pub fn layer_snapshots(&self, image: &Image) -> Result<Vec<SnapshotId>> {
        Ok(self
            .layers(image)?
            .into_iter()
            .map(|(snapshot, _)| snapshot)
            .collect())
    }

    /// Returns the directories of the layers, top first, as overlayfs takes them.
    pub fn layer_directories(&self, image: &Image) -> Result<Vec<PathBuf>> {
        match self.snapshot(image)? {
            Some(top) => Ok(self.store.snapshots().layers(top)?),
            None => Ok(Vec::new()),
        }
    }

    /// Returns the bytes of the manifest.
    pub fn manifest_size(&self, image: &Image) -> Result<u64> {
        Ok(self.store.content().size(&image.manifest_digest)?.unwrap_or(0))
    }

    /// Returns the snapshots of an image, base first.
    pub(crate) fn layers(&self, image: &Image) -> Result<Vec<(SnapshotId, LayerInfo)>> {
        let top = self.snapshot(image)?;
        self.chain(top)
    }

    /// Returns a snapshot and all below it, base first.
    pub(crate) fn chain(&self, top: Option<SnapshotId>) -> Result<Vec<(SnapshotId, LayerInfo)>> {
        let snapshots = self.store.snapshots();
        let mut chain = Vec::new();
        let mut next = top;
        while let Some(snapshot) = next {
            chain.push((snapshot, snapshots.layer(snapshot)?));
            next = snapshots.parent(snapshot)?;
        }
        chain.reverse();
        Ok(chain)
    }
}
