//! Cache mounts that travel with a cache, where that is asked for.
//!
//! The files of a mount are an archive like a layer's, under the name of the mount's folder, which says all that tells
//! one mount from another. A mount that is there is left alone; one that has to be made begins with what was imported.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use plimsoll_image::Packing;
use plimsoll_oci::{Descriptor, Digest};
use plimsoll_progress::Progress;
use plimsoll_store::Store;

use super::config::CacheMount;
use super::gather::BlobFrom;
use super::import::Imported;
use super::place::{CacheError, blocking};
use super::{chain, warning};

/// The cache mounts of one build.
pub(crate) struct TravellingMounts {
    imported: Arc<Imported>,
    /// Those that steps took, by folder, with what people call them.
    used: Mutex<BTreeMap<String, String>>,
}

impl TravellingMounts {
    pub(crate) fn new(imported: Arc<Imported>) -> Self {
        Self {
            imported,
            used: Mutex::default(),
        }
    }

    /// Takes note that a step has this mount.
    pub(crate) fn note(&self, folder: &str, id: &str) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.insert(folder.to_owned(), id.to_owned());
    }

    /// Fills an empty directory with what was imported for a mount; false if that is nothing. What cannot be brought is
    /// warned about, and the directory is to be thrown away.
    pub(crate) async fn fill(
        &self,
        folder: &str,
        directory: &Path,
        store: &Store,
        progress: &Progress,
    ) -> Option<bool> {
        let Some((cache, mount)) = self.imported.mount(folder) else {
            return Some(false);
        };
        let task = progress.start(format!(
            "importing cache mount {} from {}",
            mount.id,
            cache.place.name()
        ));
        let blob = Descriptor::new("application/octet-stream".into(), mount.size, mount.blob);
        let brought = async {
            self.imported
                .bring_blob(&cache.place, &blob, store, &task)
                .await?;
            let (store, digest, directory) = (store.clone(), mount.blob, directory.to_owned());
            blocking(move || unpack(&store, digest, &directory)).await
        };
        match brought.await {
            Ok(()) => {
                task.done();
                Some(true)
            }
            Err(error) => {
                let reason = chain(&error);
                task.failed(&reason);
                let message = format!("cache mount `{}` begins empty: {reason}", mount.id);
                progress.warn(warning("cache-import", message));
                None
            }
        }
    }

    /// Packs the mounts of this build, and names those of imported caches that it did not use.
    pub(super) fn pack(
        &self,
        store: &Store,
        packing: &Packing,
    ) -> Result<Vec<(CacheMount, BlobFrom)>, CacheError> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut mounts = Vec::new();
        for (folder, id) in &used {
            if let Some((blob, size)) = pack(store, folder, packing)? {
                let (folder, id) = (folder.clone(), id.clone());
                mounts.push((
                    CacheMount {
                        folder,
                        id,
                        blob,
                        size,
                    },
                    BlobFrom::Store,
                ));
            }
        }
        let others = self
            .imported
            .mounts()
            .filter(|(_, mount)| !used.contains_key(&mount.folder));
        mounts.extend(others.map(|(cache, mount)| (mount.clone(), BlobFrom::Elsewhere(cache.place.clone()))));
        Ok(mounts)
    }
}

/// Packs the first instance of a mount, unless it is not there or somebody has it alone.
fn pack(store: &Store, folder: &str, packing: &Packing) -> Result<Option<(Digest, u64)>, CacheError> {
    let folder = store.root().join("cache-mounts").join(folder);
    let directory = folder.join("0");
    let Ok(lock) = File::open(folder.join("0.lock")) else {
        return Ok(None);
    };
    if lock.try_lock_shared().is_err() || !directory.is_dir() {
        return Ok(None);
    }
    let failed = |source| CacheError::Folder {
        operation: "archive",
        path: directory.clone().into(),
        source,
    };
    let ingest = store.content().ingest(None)?;
    let mut packer = packing.encoding.pack(ingest, packing.threads);
    plimsoll_layer::diff(directory.as_std_path(), &mut packer)
        .map_err(|error| failed(std::io::Error::other(error)))?;
    let (ingest, written) = packer.finish().map_err(failed)?;
    ingest.commit()?;
    Ok(Some((written.digest, written.size)))
}

fn unpack(store: &Store, digest: Digest, directory: &Path) -> Result<(), CacheError> {
    let failed = |error| CacheError::Folder {
        operation: "unpack an archive into",
        path: directory.to_owned(),
        source: std::io::Error::other(error),
    };
    let blob = store.content().open(&digest)?;
    let tar = plimsoll_layer::decompress(blob).map_err(failed)?;
    plimsoll_layer::apply(tar, directory, &[])
        .map(drop)
        .map_err(failed)
}
