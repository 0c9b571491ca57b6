//! What of a build goes into a cache.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use plimsoll_image::{Images, Packing};
use plimsoll_oci::{Descriptor, Digest};
use plimsoll_solver::{Op as _, Solver};
use plimsoll_store::{SnapshotId, Store, chain_id};

use super::config::{CacheConfig, CacheLayer, CacheMount, CacheResult};
use super::export::CacheMode;
use super::import::{Imported, ImportedCache};
use super::place::{CacheError, CachePlace, digest_of};
use crate::cache::{BuildCache, keys_of};
use crate::op::{BuildOp, Output};

/// One result of a build.
pub(super) enum Found {
    /// Its files are here.
    Here { output: Output, description: String },
    /// Nobody needed it: it is still in a cache that was imported.
    Elsewhere(Digest),
}

/// Returns the results of all steps a build needs, or of those whose layers end up in what was built.
pub(super) fn results(
    solver: &Solver<BuildOp, BuildCache>,
    tops: &[SnapshotId],
    mode: CacheMode,
) -> Result<Vec<Found>, CacheError> {
    let cache = solver.cache();
    let result_layers = ancestors(&cache.store, tops)?;
    let mut found = Vec::new();
    for (vertex, _, report) in solver.reports() {
        let op = solver.op(vertex);
        let Some(key) = report.key.filter(|_| !op.trivial()) else {
            continue;
        };
        let output = match report.output {
            Some(output) => Some(output),
            None => cache.find_here(key)?,
        };
        match output {
            Some(output) if mode == CacheMode::Max || result_layers.contains(&output.snapshot) => {
                let description = op.name().unwrap_or_default();
                found.push(Found::Here { output, description });
            }
            None if mode == CacheMode::Max && cache.imported.find(&key).is_some() => {
                found.push(Found::Elsewhere(key));
            }
            _ => {}
        }
    }
    Ok(found)
}

/// Returns the snapshots that others stand on, themselves included.
pub(super) fn ancestors(store: &Store, tops: &[SnapshotId]) -> Result<HashSet<SnapshotId>, CacheError> {
    let mut all = HashSet::new();
    for top in tops {
        let mut next = Some(*top);
        while let Some(id) = next.filter(|id| all.insert(*id)) {
            next = store.snapshots().parent(id)?;
        }
    }
    Ok(all)
}

/// Where a blob of a cache comes from.
#[derive(Clone)]
pub(super) enum BlobFrom {
    /// The store.
    Store,
    /// A cache that was imported.
    Elsewhere(CachePlace),
}

/// A cache in the making: each layer once, whoever stands on it.
pub(super) struct Gathering<'a> {
    store: &'a Store,
    images: &'a Images,
    packing: &'a Packing,
    pub(super) config: CacheConfig,
    pub(super) blobs: BTreeMap<Digest, (Descriptor, BlobFrom)>,
    by_chain: HashMap<Digest, usize>,
    by_snapshot: HashMap<SnapshotId, usize>,
}

impl<'a> Gathering<'a> {
    pub(super) fn new(store: &'a Store, images: &'a Images, packing: &'a Packing) -> Self {
        Self {
            store,
            images,
            packing,
            config: CacheConfig::default(),
            blobs: BTreeMap::new(),
            by_chain: HashMap::new(),
            by_snapshot: HashMap::new(),
        }
    }

    /// Adds all of it. Layers are packed here, which takes its time.
    pub(super) fn add(&mut self, found: &[Found], imported: &Imported) -> Result<(), CacheError> {
        for result in found {
            match result {
                Found::Here { output, description } => self.add_here(output, description)?,
                Found::Elsewhere(key) => {
                    if let Some((cache, result)) = imported.find(key) {
                        self.add_elsewhere(cache, result)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn add_here(&mut self, output: &Output, description: &str) -> Result<(), CacheError> {
        let top = self.snapshot(output.snapshot)?;
        let result = CacheResult {
            top,
            content: output.content,
            description: description.to_owned(),
        };
        let keys = keys_of(self.store, output)?;
        self.config
            .results
            .extend(keys.into_iter().map(|key| (key, result.clone())));
        Ok(())
    }

    /// Adds the layers of a snapshot from the lowest on.
    fn snapshot(&mut self, id: SnapshotId) -> Result<usize, CacheError> {
        let mut above = Vec::new();
        let mut next = Some(id);
        let mut parent = None;
        while let Some(id) = next {
            if let Some(known) = self.by_snapshot.get(&id) {
                parent = Some(*known);
                break;
            }
            above.push(id);
            next = self.store.snapshots().parent(id)?;
        }
        for id in above.into_iter().rev() {
            let packed = self.images.pack_snapshot(id, self.packing)?;
            let nanoseconds = self.store.snapshots().created(id)?;
            let layer = CacheLayer {
                descriptor: packed.descriptor,
                diff_id: packed.diff_id,
                created: Timestamp::from_nanosecond(i128::from(nanoseconds)).ok(),
                parent,
            };
            let chain = self.store.snapshots().layer(id)?.chain_id;
            let at = self.layer(chain, layer, &BlobFrom::Store)?;
            self.by_snapshot.insert(id, at);
            parent = Some(at);
        }
        parent.ok_or_else(|| CacheError::NoCache("a result without layers".to_owned()))
    }

    fn add_elsewhere(&mut self, cache: &ImportedCache, result: &CacheResult) -> Result<(), CacheError> {
        let from = BlobFrom::Elsewhere(cache.place.clone());
        let (mut parent, mut chain) = (None, None);
        for layer in cache.config.chain(result.top) {
            let id = chain_id(chain.as_ref(), &layer.diff_id);
            let layer = CacheLayer {
                parent,
                ..layer.clone()
            };
            parent = Some(self.layer(id, layer, &from)?);
            chain = Some(id);
        }
        let top = parent.ok_or_else(|| CacheError::NoCache("a result without layers".to_owned()))?;
        let keys = cache.keys(result).into_iter();
        self.config.results.extend(keys.map(|key| {
            let result = CacheResult {
                top,
                ..result.clone()
            };
            (key, result)
        }));
        Ok(())
    }

    /// Adds the files of a cache mount.
    pub(super) fn add_mount(&mut self, mount: CacheMount, from: BlobFrom) {
        let media_type = self.packing.encoding.compression().media_type(true);
        let blob = Descriptor::new(media_type.into(), mount.size, mount.blob);
        self.blobs.entry(mount.blob).or_insert((blob, from));
        self.config.mounts.push(mount);
    }

    fn layer(&mut self, chain: Digest, layer: CacheLayer, from: &BlobFrom) -> Result<usize, CacheError> {
        if let Some(known) = self.by_chain.get(&chain) {
            return Ok(*known);
        }
        let digest = digest_of(&layer.descriptor)?;
        self.blobs
            .entry(digest)
            .or_insert_with(|| (layer.descriptor.clone(), from.clone()));
        self.config.layers.push(layer);
        let at = self.config.layers.len() - 1;
        self.by_chain.insert(chain, at);
        Ok(at)
    }
}
