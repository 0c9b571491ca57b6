//! The operations of a build, and what decides their cache keys.

mod copy;
mod exec;
mod image;
mod link;
mod mkdir;
mod mode;
pub(crate) mod mount;
mod parts;
mod remote;
mod unpack;
mod user;
mod writer;

use std::sync::Arc;

use plimsoll_diagnostics::{Source, Span};
use plimsoll_image::Images;
use plimsoll_oci::{Digest, Hasher};
use plimsoll_progress::{Progress, Task};
use plimsoll_runtime::Runtime;
use plimsoll_solver::Op;
use plimsoll_store::{MergedTree, SnapshotId, Store};

use crate::early::EarlyPacking;
use crate::error::OpError;
use crate::network::NetworkPool;
use crate::record::{Journal, PartKind, StageRecord};
use crate::remote_cache::TravellingMounts;
use crate::run_options::RunOptions;
use crate::source::Sources;
pub(crate) use copy::{Chown, CopyOp, InlineFile, SourcePath, SourceTree, patterns};
pub(crate) use exec::{ExecOp, HOSTNAME, Script};
pub(crate) use image::ImageOp;
pub(crate) use link::LinkOp;
pub(crate) use mkdir::MkdirOp;
pub(crate) use mode::ModeChange;
pub(crate) use mount::{ExecMount, MountFiles, literal};
pub(crate) use remote::{GitOp, HttpOp};
pub(crate) use writer::{Change, Original, Owner, Writer};

/// Files of a stage after an operation.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    /// The files; none before the first layer of a stage from scratch.
    pub(crate) snapshot: SnapshotId,
    /// Decides the content keys of what follows.
    pub(crate) content: Digest,
}

/// What operations work with.
pub(crate) struct Services {
    pub(crate) store: Store,
    pub(crate) images: Images,
    pub(crate) runtime: Runtime,
    pub(crate) network: NetworkPool,
    pub(crate) sources: Arc<Sources>,
    pub(crate) progress: Progress,
    pub(crate) run: RunOptions,
    /// Scratch of this build.
    pub(crate) folder: camino::Utf8PathBuf,
    pub(crate) journal: Arc<Journal>,
    pub(crate) early: Option<Arc<EarlyPacking>>,
    pub(crate) mounts: Arc<TravellingMounts>,
}

/// One vertex of a build.
pub(crate) struct BuildOp {
    pub(crate) name: Option<String>,
    /// The instruction and its text, for errors.
    pub(crate) span: Span,
    pub(crate) source: Source,
    pub(crate) stage: Arc<StageRecord>,
    /// Variables that its words were expanded with. Not in the key: what they came to is.
    pub(crate) variables: Vec<(PartKind, String, String)>,
    pub(crate) cacheable: bool,
    pub(crate) operation: Operation,
    pub(crate) services: Arc<Services>,
    /// Worked out once: it may mean reading files of the context.
    pub(crate) key: tokio::sync::OnceCell<Digest>,
}

/// What a vertex does.
pub(crate) enum Operation {
    /// FROM an image.
    Image(Box<ImageOp>),
    /// RUN.
    Exec(ExecOp),
    /// COPY and ADD.
    Copy(CopyOp),
    /// The second half of `COPY --link`.
    Link(LinkOp),
    /// WORKDIR.
    Mkdir(MkdirOp),
    /// A file of the web.
    Http(HttpOp),
    /// A git repository.
    Git(GitOp),
}

impl BuildOp {
    /// Returns the digest of what is asked for, before any file of a context is read or anything is fetched. Two
    /// operations of one build that agree in it and in their inputs come to the same.
    pub(crate) fn definition(&self) -> Digest {
        let own = match &self.operation {
            Operation::Image(op) => op.key(),
            Operation::Exec(op) => op.key(),
            Operation::Copy(op) => op.definition_in_build(),
            Operation::Link(op) => op.key(),
            Operation::Mkdir(op) => op.key(),
            Operation::Http(op) => op.definition(),
            Operation::Git(op) => op.definition(),
        };
        hash(if self.cacheable { "cached" } else { "fresh" }, &[own])
    }
}

impl Op for BuildOp {
    type Output = Output;
    type Error = OpError;

    fn name(&self) -> Option<String> {
        self.name.clone()
    }

    async fn key(&self) -> Result<Digest, OpError> {
        let key = self.key.get_or_try_init(async || match &self.operation {
            Operation::Image(op) => Ok(op.key()),
            Operation::Exec(op) => Ok(op.key()),
            Operation::Copy(op) => op.key(&self.services).await,
            Operation::Link(op) => Ok(op.key()),
            Operation::Mkdir(op) => Ok(op.key()),
            Operation::Http(op) => op.key(&self.services).await,
            Operation::Git(op) => op.key(&self.services).await,
        });
        key.await.copied()
    }

    async fn content_key(&self, inputs: &[Output]) -> Result<Digest, OpError> {
        match &self.operation {
            Operation::Copy(op) => op.content_key(&self.services, inputs).await,
            Operation::Exec(op) => op.content_key(&self.services, inputs).await,
            _ => Ok(contents(inputs)),
        }
    }

    type Held = Vec<mount::cache::HeldCache>;

    async fn hold(&self, inputs: &[Output]) -> Result<Self::Held, OpError> {
        match &self.operation {
            Operation::Exec(op) => mount::cache::take(&op.mounts, &self.services, inputs).await,
            _ => Ok(Vec::new()),
        }
    }

    async fn run(&self, held: &Self::Held, inputs: &[Output], task: &Task) -> Result<Output, OpError> {
        let output = self.operate(held, inputs, task).await?;
        let makes_layer = !matches!(
            self.operation,
            Operation::Image(_) | Operation::Http(_) | Operation::Git(_)
        );
        if let Some(early) = self.services.early.as_ref().filter(|_| makes_layer) {
            early.start(self.stage.index, output.snapshot);
        }
        Ok(output)
    }

    fn cacheable(&self) -> bool {
        self.cacheable
    }

    fn trivial(&self) -> bool {
        matches!(self.operation, Operation::Image(_))
    }
}

impl BuildOp {
    async fn operate(
        &self,
        held: &<Self as Op>::Held,
        inputs: &[Output],
        task: &Task,
    ) -> Result<Output, OpError> {
        match &self.operation {
            Operation::Image(op) => op.run(&self.services).await,
            Operation::Exec(op) => op.run(&self.services, inputs, held, task).await,
            Operation::Copy(op) => {
                // What a COPY leaves is decided by what it reads: no need to read it once more.
                let content = hash("copied", &[self.key().await?, self.content_key(inputs).await?]);
                op.run(&self.services, inputs, content).await
            }
            Operation::Link(op) => {
                op.run(&self.services, inputs, hash("linked", &[contents(inputs)]))
                    .await
            }
            Operation::Mkdir(op) => {
                let content = hash("made", &[op.key(), contents(inputs)]);
                op.run(&self.services, inputs, content).await
            }
            Operation::Http(op) => op.run(&self.services, self.key().await?, task).await,
            Operation::Git(op) => op.run(&self.services, self.key().await?).await,
        }
    }
}

/// The digest of inputs that are used whole.
fn contents(inputs: &[Output]) -> Digest {
    hash(
        "inputs",
        &inputs.iter().map(|input| input.content).collect::<Vec<_>>(),
    )
}

/// Hashes digests under a word that says what they are.
fn hash(kind: &str, digests: &[Digest]) -> Digest {
    let mut hasher = Hasher::new();
    hasher.field(kind);
    digests.iter().for_each(|digest| hasher.field(digest.as_bytes()));
    hasher.finish()
}

/// The files of an output.
fn tree(store: &Store, output: &Output) -> Result<MergedTree, OpError> {
    Ok(MergedTree::new(store.snapshots().layers(output.snapshot)?))
}

/// Runs blocking work where it does not hold up the others.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, OpError> + Send + 'static,
) -> Result<T, OpError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
