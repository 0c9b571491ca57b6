//! From a plain archive of files to a layer.

use std::io::Read;

use plimsoll_store::{SnapshotId, StoreError};

use crate::{Images, Result};

impl Images {
    /// Unpacks an archive, compressed or not, as a layer without any below. It stays as long as this process has the
    /// store open, or an image is made of it.
    pub fn import(&self, archive: impl Read + Send) -> Result<SnapshotId> {
        self.store.protect()?;
        let layer = self.store.snapshots().prepare(None)?;
        let snapshot = layer.id();
        let failed = |source| StoreError::Layer {
            operation: "unpack",
            snapshot,
            source,
        };
        let tar = plimsoll_layer::decompress(archive).map_err(failed)?;
        plimsoll_layer::apply(tar, layer.upper(), &[]).map_err(failed)?;
        Ok(self.store.snapshots().commit(layer)?)
    }
}
