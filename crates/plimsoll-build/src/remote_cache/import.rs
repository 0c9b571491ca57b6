//! Results that are elsewhere, and bringing them here.

use std::collections::{HashMap, HashSet};
use std::io::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt as _;
use futures_util::stream;
use plimsoll_image::Images;
use plimsoll_oci::{Descriptor, Digest};
use plimsoll_progress::{Progress, Task};
use plimsoll_store::{SnapshotId, Store, StoreError, chain_id};

use super::config::{CacheConfig, CacheLayer, CacheMount, CacheResult};
use super::place::{CacheError, CacheFrom, CachePlace, blocking, digest_of};
use super::{chain, warning};

/// Layers that come at the same time.
const AT_ONCE: usize = 4;
/// Bytes between two reports of progress.
const STRIDE: u64 = 256 << 10;

/// All caches that a build may take results from.
#[derive(Default)]
pub(crate) struct Imported {
    caches: Vec<ImportedCache>,
    /// Two results with a layer in common bring it once.
    coming: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
}

/// One of them.
pub(crate) struct ImportedCache {
    pub(super) place: CachePlace,
    pub(super) config: CacheConfig,
    gives_mounts: bool,
    /// Blobs that could not be brought: they are not tried again, and what needs them is not here.
    failed: Mutex<HashSet<Digest>>,
}

impl ImportedCache {
    pub(super) fn new(from: &CacheFrom, config: CacheConfig) -> Self {
        Self {
            place: from.place.clone(),
            config,
            gives_mounts: from.cache_mounts,
            failed: Mutex::default(),
        }
    }

    fn failed(&self) -> MutexGuard<'_, HashSet<Digest>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns every key of a result.
    pub(super) fn keys(&self, result: &CacheResult) -> Vec<Digest> {
        let same =
            |(_, other): &(&Digest, &CacheResult)| (other.top, other.content) == (result.top, result.content);
        let all = self.config.results.iter().filter(same);
        all.map(|(key, _)| *key).collect()
    }
}

/// A result that was brought.
pub(crate) struct Brought {
    pub(crate) snapshot: SnapshotId,
    pub(crate) content: Digest,
    /// Under which it is to be recorded.
    pub(crate) keys: Vec<Digest>,
    pub(crate) description: String,
}

/// Where things are brought to.
pub(crate) struct Here<'a> {
    pub(crate) store: &'a Store,
    pub(crate) images: &'a Images,
    pub(crate) progress: &'a Progress,
}

impl Imported {
    pub(super) fn new(caches: Vec<ImportedCache>) -> Self {
        Self {
            caches,
            coming: Mutex::default(),
        }
    }

    /// Returns what is known elsewhere under a key.
    pub(super) fn find(&self, key: &Digest) -> Option<(&ImportedCache, &CacheResult)> {
        let find = |cache: &'_ ImportedCache| cache.config.results.contains_key(key);
        let cache = self.caches.iter().find(|cache| find(cache))?;
        Some((cache, &cache.config.results[key]))
    }

    /// Returns the cache mounts that may be taken from elsewhere.
    pub(super) fn mounts(&self) -> impl Iterator<Item = (&ImportedCache, &CacheMount)> {
        let giving = self.caches.iter().filter(|cache| cache.gives_mounts);
        giving.flat_map(|cache| cache.config.mounts.iter().map(move |mount| (cache, mount)))
    }

    /// Returns what is elsewhere of the cache mount of a folder.
    pub(super) fn mount(&self, folder: &str) -> Option<(&ImportedCache, &CacheMount)> {
        self.mounts().find(|(_, mount)| mount.folder == folder)
    }

    /// Brings the result of a key from the first cache that gives it. What cannot be brought is warned about and not tried
    /// again.
    pub(crate) async fn bring(&self, key: &Digest, here: &Here<'_>) -> Option<Brought> {
        for cache in &self.caches {
            let Some(result) = cache.config.results.get(key) else {
                continue;
            };
            let name = cache.place.name();
            match self.bring_result(cache, result, here).await {
                Ok(None) => {}
                Ok(Some(snapshot)) => {
                    return Some(Brought {
                        snapshot,
                        content: result.content,
                        keys: cache.keys(result),
                        description: result.description.clone(),
                    });
                }
                Err(error) => {
                    let message = format!("cannot use a result of the cache `{name}`: {}", chain(&error));
                    here.progress.warn(warning("cache-import", message));
                }
            }
        }
        None
    }

    /// Returns none if it is known that it cannot be brought.
    async fn bring_result(
        &self,
        cache: &ImportedCache,
        result: &CacheResult,
        here: &Here<'_>,
    ) -> Result<Option<SnapshotId>, CacheError> {
        let layers = cache.config.chain(result.top);
        let mut ids: Vec<Digest> = Vec::with_capacity(layers.len());
        for layer in &layers {
            ids.push(chain_id(ids.last(), &layer.diff_id));
        }
        let (mut parent, known) = highest(here.store, &ids)?;
        if known == layers.len() {
            return Ok(parent);
        }
        for layer in &layers[known..] {
            if cache.failed().contains(&digest_of(&layer.descriptor)?) {
                return Ok(None);
            }
        }
        let task = here.progress.start(format!(
            "importing {} from {}",
            result.description,
            cache.place.name()
        ));
        let brought = async {
            let new = &layers[known..];
            let mut blobs = Vec::with_capacity(new.len());
            for layer in new {
                blobs.push(self.bring_blob(&cache.place, &layer.descriptor, here.store, &task));
            }
            let mut coming = stream::iter(blobs).buffered(AT_ONCE);
            for layer in new {
                if let Some(Err(error)) = coming.next().await {
                    cache.failed().insert(digest_of(&layer.descriptor)?);
                    return Err(error);
                }
                parent = Some(unpack(here, parent, layer).await?);
            }
            Ok(parent)
        };
        let brought = brought.await;
        match &brought {
            Ok(_) => task.done(),
            Err(error) => task.failed(chain(error)),
        }
        brought
    }

    /// Brings a blob into the store, going on where an earlier attempt ended.
    pub(super) async fn bring_blob(
        &self,
        place: &CachePlace,
        blob: &Descriptor,
        store: &Store,
        task: &Task,
    ) -> Result<(), CacheError> {
        let digest = digest_of(blob)?;
        let turn = {
            let mut coming = self.coming.lock().unwrap_or_else(PoisonError::into_inner);
            coming.entry(digest).or_default().clone()
        };
        let _turn = turn.lock().await;
        let (id, size) = (digest.short(), blob.size());
        if store.content().touch(&[digest])? {
            task.count(&id, size, size);
            return Ok(());
        }
        loop {
            let mut ingest = store.content().ingest(Some(digest))?;
            if ingest.offset() > size {
                ingest.restart()?;
            }
            let offset = ingest.offset();
            let mut reported = offset;
            let mut write = |bytes: &[u8]| {
                ingest.write_all(bytes)?;
                if ingest.offset() - reported >= STRIDE {
                    reported = ingest.offset();
                    task.count(&id, reported, size);
                }
                Ok(())
            };
            place.read(blob, offset, &mut write).await?;
            match blocking(move || Ok(ingest.commit())).await? {
                // What was there before may have been the wrong part.
                Err(StoreError::WrongDigest { .. }) if offset > 0 => {}
                Err(StoreError::WrongDigest { .. }) => return Err(CacheError::WrongDigest(digest)),
                Err(error) => return Err(error.into()),
                Ok(_) => {
                    task.count(&id, size, size);
                    return Ok(());
                }
            }
        }
    }
}

/// Returns the highest snapshot of a chain that is here, and how many layers it makes up for.
fn highest(store: &Store, ids: &[Digest]) -> Result<(Option<SnapshotId>, usize), CacheError> {
    for (at, id) in ids.iter().enumerate().rev() {
        if let Some(snapshot) = store.snapshots().by_chain_id(id)?
            && store.snapshots().hold(snapshot)?
        {
            return Ok((Some(snapshot), at + 1));
        }
    }
    Ok((None, 0))
}

async fn unpack(
    here: &Here<'_>,
    parent: Option<SnapshotId>,
    layer: &CacheLayer,
) -> Result<SnapshotId, CacheError> {
    let (images, layer) = (here.images.clone(), layer.clone());
    let created = layer
        .created
        .and_then(|time| i64::try_from(time.as_nanosecond()).ok());
    blocking(move || Ok(images.adopt_layer(parent, &layer.descriptor, layer.diff_id, created)?)).await
}
