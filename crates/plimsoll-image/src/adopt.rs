//! Layers that come without an image: from the cache of a build elsewhere.

use plimsoll_oci::{Descriptor, Digest};
use plimsoll_store::{SnapshotId, chain_id};

use crate::{Images, Result, rows};

impl Images {
    /// Unpacks a layer whose blob is in the store on `parent`, unless that has been done, and returns its snapshot. One
    /// that is made now counts as created at `created`, in unix nanoseconds, which is when it was made elsewhere: so a
    /// build that finds it comes to the same image.
    ///
    /// What is returned is protected from collection while this process has the store open.
    pub fn adopt_layer(
        &self,
        parent: Option<SnapshotId>,
        layer: &Descriptor,
        diff_id: Digest,
        created: Option<i64>,
    ) -> Result<SnapshotId> {
        let snapshots = self.store.snapshots();
        let below = parent.map(|parent| snapshots.layer(parent)).transpose()?;
        let chain = chain_id(below.map(|layer| layer.chain_id).as_ref(), &diff_id);
        let known = snapshots.by_chain_id(&chain)?;
        let snapshot = self.unpack_layer(parent, layer, diff_id, &chain)?;
        snapshots.hold(snapshot)?;
        if let (None, Some(created)) = (known, created) {
            snapshots.date(snapshot, created)?;
        }
        self.store
            .db()
            .write(|db| rows::note_layer_blob(db, &diff_id, layer))?;
        Ok(snapshot)
    }

    /// Returns the registries that images are pulled from.
    pub fn registry(&self) -> &std::sync::Arc<plimsoll_registry::Registry> {
        &self.registry
    }
}
