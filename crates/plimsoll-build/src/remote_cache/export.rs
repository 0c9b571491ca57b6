//! Writing caches.

use std::io::{self, Read, Seek as _, SeekFrom};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{StreamExt as _, stream};
use plimsoll_image::{Images, Packing};
use plimsoll_oci::{Descriptor, Digest};
use plimsoll_progress::{Progress, Task};
use plimsoll_registry::BlobSource;
use plimsoll_solver::Solver;
use plimsoll_store::{ContentStore, SnapshotId, Store};
use serde_json::{Value, json};

use super::config::{CONFIG, CacheConfig, CacheLayer, CacheResult};
use super::gather::{self, BlobFrom, Found, Gathering};
use super::layout::Layout;
use super::place::{CacheError, CachePlace, blocking, index_key};
use super::{Imported, TravellingMounts, chain, warning};
use crate::cache::{BuildCache, keys_of};
use crate::op::BuildOp;

/// Blobs that go at the same time.
const AT_ONCE: usize = 4;
/// Bytes between two reports of progress.
const STRIDE: u64 = 256 << 10;
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// Which results are exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheMode {
    /// Of the steps whose layers are in the image.
    Min,
    /// Of all steps.
    Max,
}

/// A cache to be exported.
#[derive(Clone)]
pub struct CacheTo {
    /// Where to.
    pub place: CachePlace,
    /// Which results.
    pub mode: CacheMode,
    /// How layers are packed.
    pub packing: Packing,
    /// An image's manifest, which every registry takes, rather than an index.
    pub image_manifest: bool,
    /// The files of cache mounts too.
    pub cache_mounts: bool,
    /// An export that fails fails the build; otherwise it is warned about.
    pub must_succeed: bool,
}

/// What a build came to, as exports need it.
pub(crate) struct Exporting<'a> {
    pub(crate) store: &'a Store,
    pub(crate) images: &'a Images,
    pub(crate) solver: &'a Solver<BuildOp, BuildCache>,
    /// The snapshots of what was built.
    pub(crate) tops: &'a [SnapshotId],
    pub(crate) progress: &'a Progress,
    pub(crate) mounts: &'a Arc<TravellingMounts>,
}

/// Writes all caches, one after the other: they share the layers that are packed for it.
pub(crate) async fn export_all(to: &[CacheTo], exporting: &Exporting<'_>) -> Result<(), CacheError> {
    for to in to.iter().filter(|to| !matches!(to.place, CachePlace::Inline)) {
        let name = to.place.name();
        let task = Arc::new(
            exporting
                .progress
                .start(format!("exporting cache to {}", to.place.kind())),
        );
        let exported = export(to, exporting, &task).await;
        let task = Arc::into_inner(task);
        match exported {
            Ok(()) => task.into_iter().for_each(Task::done),
            Err(error) => {
                let reason = chain(&error);
                task.into_iter().for_each(|task| task.failed(&reason));
                if to.must_succeed {
                    return Err(error);
                }
                let message = format!("the cache was not exported to `{name}`: {reason}");
                exporting.progress.warn(warning("cache-export", message));
            }
        }
    }
    Ok(())
}

async fn export(to: &CacheTo, exporting: &Exporting<'_>, task: &Arc<Task>) -> Result<(), CacheError> {
    let cache = exporting.solver.cache();
    let found = gather::results(exporting.solver, exporting.tops, to.mode)?;
    let (config, blobs) = gather(to, exporting, cache.imported.clone(), found).await?;
    let mut sends = Vec::with_capacity(blobs.len());
    for (blob, from) in &blobs {
        sends.push(send(&to.place, blob, from, cache, exporting.store, task));
    }
    let mut sending = stream::iter(sends).buffer_unordered(AT_ONCE);
    while let Some(sent) = sending.next().await {
        sent?;
    }
    let layers: Vec<&Descriptor> = blobs.iter().map(|(blob, _)| blob).collect();
    conclude(to, &config, &layers).await
}

type Gathered = (CacheConfig, Vec<(Descriptor, BlobFrom)>);

/// Packs what there is.
async fn gather(
    to: &CacheTo,
    exporting: &Exporting<'_>,
    imported: Arc<Imported>,
    found: Vec<Found>,
) -> Result<Gathered, CacheError> {
    let (store, images, packing) = (exporting.store.clone(), exporting.images.clone(), to.packing);
    let mounts = to.cache_mounts.then(|| Arc::clone(exporting.mounts));
    blocking(move || {
        let mut gathering = Gathering::new(&store, &images, &packing);
        gathering.add(&found, &imported)?;
        for (mount, from) in mounts
            .map(|mounts| mounts.pack(&store, &packing))
            .transpose()?
            .into_iter()
            .flatten()
        {
            gathering.add_mount(mount, from);
        }
        Ok((gathering.config, gathering.blobs.into_values().collect()))
    })
    .await
}

/// Sends a blob, if it is not there.
async fn send(
    place: &CachePlace,
    blob: &Descriptor,
    from: &BlobFrom,
    cache: &BuildCache,
    store: &Store,
    task: &Arc<Task>,
) -> Result<(), CacheError> {
    let digest = super::place::digest_of(blob)?;
    let (id, size) = (digest.short(), blob.size());
    if let BlobFrom::Elsewhere(elsewhere) = from
        && !place.has(&digest).await?
    {
        cache.imported.bring_blob(elsewhere, blob, store, task).await?;
    }
    let source = Arc::new(StoredBlob {
        content: store.content().clone(),
        digest,
    });
    place.write(digest, size, source, report(task, &id, size)).await?;
    task.count(&id, size, size);
    Ok(())
}

fn report(task: &Arc<Task>, id: &str, size: u64) -> Arc<dyn Fn(u64) + Send + Sync> {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    // Not the task itself: whoever exports ends it when nothing is on its way any more.
    let (task, id) = (Arc::downgrade(task), id.to_owned());
    let reported = AtomicU64::new(0);
    Arc::new(move |sent| {
        if sent.abs_diff(reported.load(Relaxed)) >= STRIDE && sent < size {
            reported.store(sent, Relaxed);
            if let Some(task) = task.upgrade() {
                task.count(&id, sent, size);
            }
        }
    })
}

/// Writes the document and what names it, last.
async fn conclude(to: &CacheTo, config: &CacheConfig, layers: &[&Descriptor]) -> Result<(), CacheError> {
    let document = config.to_bytes();
    let quiet: Arc<dyn Fn(u64) + Send + Sync> = Arc::new(|_| {});
    if let CachePlace::Actions(cache, scope) = &to.place {
        let branch = cache.scopes().swap_remove(0);
        return Ok(cache.save_latest(&index_key(scope, &branch), &document).await?);
    }
    let digest = Digest::of(&document);
    let size = document.len() as u64;
    to.place
        .write(digest, size, Arc::new(document), quiet.clone())
        .await?;
    let config = Descriptor::new(CONFIG.into(), size, digest);
    let (media_type, manifest) = manifest(to, &config, layers);
    let bytes = serde_json::to_vec(&manifest).expect("a value is JSON");
    match &to.place {
        CachePlace::Registry(registry, reference) => {
            registry.push_manifest(reference, media_type, &bytes).await?;
        }
        CachePlace::Local { folder, tag, .. } => {
            let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
            to.place.write(digest, size, Arc::new(bytes), quiet).await?;
            let (layout, tag) = (Layout::new(folder), tag.clone());
            blocking(move || layout.name(&tag, &digest, media_type, size)).await?;
        }
        CachePlace::Actions(..) | CachePlace::Inline => {}
    }
    Ok(())
}

fn manifest(to: &CacheTo, config: &Descriptor, layers: &[&Descriptor]) -> (&'static str, Value) {
    if to.image_manifest {
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": config,
            "layers": layers,
        });
        return (OCI_MANIFEST, manifest);
    }
    let media_type = if to.packing.oci_media_types {
        OCI_INDEX
    } else {
        DOCKER_LIST
    };
    let all: Vec<_> = layers.iter().copied().chain([config]).collect();
    let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": all});
    (media_type, index)
}

/// Returns the cache that an image carries itself, of the steps that made its layers: what stands under
/// [`super::INLINE`] in its configuration.
pub(crate) fn inline(
    solver: &Solver<BuildOp, BuildCache>,
    store: &Store,
    top: SnapshotId,
) -> Result<String, CacheError> {
    let mut chain = vec![top];
    while let Some(parent) = store.snapshots().parent(chain[chain.len() - 1])? {
        chain.push(parent);
    }
    chain.reverse();
    let mut config = CacheConfig::default();
    for (at, snapshot) in chain.iter().enumerate() {
        let nanoseconds = store.snapshots().created(*snapshot)?;
        config.layers.push(CacheLayer {
            // Of an image's own cache only the times of layers are written.
            descriptor: Descriptor::new(CONFIG.into(), 0, Digest::of(b"")),
            diff_id: Digest::of(b""),
            created: jiff::Timestamp::from_nanosecond(i128::from(nanoseconds)).ok(),
            parent: at.checked_sub(1),
        });
    }
    for found in gather::results(solver, &[top], CacheMode::Min)? {
        let Found::Here { output, description } = found else {
            continue;
        };
        let Some(top) = chain.iter().position(|snapshot| *snapshot == output.snapshot) else {
            continue;
        };
        for key in keys_of(store, &output)? {
            let result = CacheResult {
                top,
                content: output.content,
                description: description.clone(),
            };
            config.results.insert(key, result);
        }
    }
    Ok(STANDARD.encode(config.to_inline()))
}

/// A blob of the store.
struct StoredBlob {
    content: ContentStore,
    digest: Digest,
}

impl BlobSource for StoredBlob {
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let mut file = self.content.open(&self.digest).map_err(io::Error::other)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(Box::new(file))
    }
}
