//! WORKDIR: a directory that is there.

use std::path::Path;

use plimsoll_oci::{Digest, Hasher};

use super::{Output, Services, Writer, blocking, user};
use crate::error::OpError;

/// Makes a directory and its parents where they are missing: 0755, owned by the stage's user.
pub(crate) struct MkdirOp {
    pub(crate) path: String,
    /// As in USER.
    pub(crate) owner: String,
}

impl MkdirOp {
    pub(super) fn key(&self) -> Digest {
        let mut hasher = Hasher::new();
        ["mkdir", &self.path, &self.owner]
            .iter()
            .for_each(|field| hasher.field(field));
        hasher.finish()
    }

    pub(super) async fn run(
        &self,
        services: &Services,
        inputs: &[Output],
        content: Digest,
    ) -> Result<Output, OpError> {
        let store = services.store.clone();
        let parent = inputs.first().map(|input| input.snapshot);
        let (path, owner) = (self.path.clone(), self.owner.clone());
        blocking(move || {
            let active = store.snapshots().prepare(parent)?;
            let mut writer = Writer::new(active.upper(), active.lowers());
            let owner = user::owner(writer.tree(), &owner)?;
            let path = writer.tree().canonical(Path::new(&path))?;
            writer.directory(&path, owner)?;
            writer.finish()?;
            Ok(Output {
                snapshot: store.snapshots().commit(active)?,
                content,
            })
        })
        .await
    }
}
