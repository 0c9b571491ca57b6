//! Packing layers while later steps still run.
//!
//! Only what an exporter will surely want: layers that steps of the target, or of stages it stands on, leave. What comes
//! of it is a blob that the exporter finds; when it goes wrong, the exporter does it again and says why.

use std::collections::HashSet;
use std::num::NonZero;
use std::sync::{Mutex, PoisonError};

use plimsoll_image::{Images, Packing};
use plimsoll_store::SnapshotId;
use tokio::task::JoinSet;

use crate::plan::{Origin, Plan};

/// The layers of one build that are being packed.
pub(crate) struct EarlyPacking {
    images: Images,
    packing: Packing,
    stages: HashSet<usize>,
    work: Mutex<JoinSet<()>>,
}

impl EarlyPacking {
    /// Steps that run are not to wait for it: it takes half of the processors.
    pub(crate) fn new(images: &Images, packing: Packing, plans: &[Plan<'_>]) -> Self {
        let threads = NonZero::new(packing.threads.get() / 2).unwrap_or(NonZero::<usize>::MIN);
        Self {
            images: images.clone(),
            packing: Packing { threads, ..packing },
            stages: plans.iter().flat_map(below_target).collect(),
            work: Mutex::default(),
        }
    }

    /// Starts on a layer, if it is one of the result's.
    pub(crate) fn start(&self, stage: usize, snapshot: SnapshotId) {
        if !self.stages.contains(&stage) {
            return;
        }
        let (images, packing) = (self.images.clone(), self.packing);
        let pack = move || {
            if let Err(error) = images.pack_snapshot(snapshot, &packing) {
                tracing::debug!(%snapshot, %error, "not packed early");
            }
        };
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        work.spawn_blocking(pack);
    }

    /// Waits for what was started.
    pub(crate) async fn finish(&self) {
        let mut work = std::mem::take(&mut *self.work.lock().unwrap_or_else(PoisonError::into_inner));
        while work.join_next().await.is_some() {}
    }
}

/// The target and the stages that it stands on.
fn below_target(plan: &Plan<'_>) -> Vec<usize> {
    let mut stages = vec![plan.target];
    while let Some(Some(stage)) = stages.last().map(|last| &plan.stages[*last])
        && let Origin::Stage(below) = stage.base.0
    {
        stages.push(below);
    }
    stages
}
