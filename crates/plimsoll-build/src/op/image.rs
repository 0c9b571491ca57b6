//! FROM an image: its layers as snapshots.

use plimsoll_image::Image;
use plimsoll_oci::{Digest, Hasher, ImageRef};

use super::{Output, Services, blocking};
use crate::error::OpError;

/// The files of an image.
pub(crate) struct ImageOp {
    pub(crate) image: Image,
    /// As people call it. Not in the key.
    pub(crate) reference: ImageRef,
}

impl ImageOp {
    /// The layers decide, not the name: a tag that moved to the same content changes nothing.
    pub(super) fn key(&self) -> Digest {
        let mut hasher = Hasher::new();
        hasher.field("image");
        self.image
            .config
            .rootfs
            .diff_ids
            .iter()
            .for_each(|diff_id| hasher.field(diff_id.as_bytes()));
        hasher.finish()
    }

    pub(super) async fn run(&self, services: &Services) -> Result<Output, OpError> {
        let (store, images, image) = (
            services.store.clone(),
            services.images.clone(),
            self.image.clone(),
        );
        let content = self.key();
        blocking(move || {
            let snapshot = match images.hold(&image)? {
                Some(snapshot) => snapshot,
                // An image without layers: an empty root.
                None => store.snapshots().commit(store.snapshots().prepare(None)?)?,
            };
            Ok(Output { snapshot, content })
        })
        .await
    }
}
