//! The second half of `COPY --link`: a layer that was made on nothing, laid on a stage.

use plimsoll_oci::{Digest, Hasher};

use super::{Output, Services, Writer, blocking};
use crate::error::OpError;

/// Lays the layer of its last input on the first. The files are the same ones, linked: another base costs no copy.
pub(crate) struct LinkOp;

impl LinkOp {
    pub(super) fn key(&self) -> Digest {
        let mut hasher = Hasher::new();
        hasher.field("link");
        hasher.finish()
    }

    pub(super) async fn run(
        &self,
        services: &Services,
        inputs: &[Output],
        content: Digest,
    ) -> Result<Output, OpError> {
        let [base, linked] = inputs else {
            unreachable!("a layer is laid on a stage: lowering gives both")
        };
        let (base, linked, store) = (base.snapshot, linked.snapshot, services.store.clone());
        blocking(move || {
            let (layer, _) = store.snapshots().directories(linked)?;
            let active = store.snapshots().prepare(Some(base))?;
            let mut writer = Writer::new(active.upper(), active.lowers());
            writer.adopt(&layer, "/".as_ref())?;
            writer.finish()?;
            Ok(Output {
                snapshot: store.snapshots().commit(active)?,
                content,
            })
        })
        .await
    }
}
