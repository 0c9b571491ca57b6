//! Real blocks on disk, every one counted once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;

use camino::Utf8Path;
use plimsoll_oci::Digest;

use super::cache::CacheItem;
use super::{ImageNeeds, Images, Survey, survey};
use crate::error::{At, Result, StoreError};
use crate::{SnapshotId, Store, lease};

/// Measures directories as `du` does: blocks, not lengths; a file with several names once, whoever is asked first.
#[derive(Default)]
pub struct Meter {
    seen: HashSet<(u64, u64)>,
}

impl Meter {
    /// Returns the bytes on disk of `path` and everything below it on the same file system. What disappears meanwhile,
    /// or is not there, takes none.
    pub fn measure(&mut self, path: &Utf8Path) -> Result<u64> {
        let device = match gone_is_none(fs::symlink_metadata(path)).at("examine", path)? {
            Some(metadata) => metadata.dev(),
            None => return Ok(0),
        };
        self.below(path.as_std_path(), device).at("measure", path)
    }

    fn below(&mut self, path: &std::path::Path, device: u64) -> io::Result<u64> {
        let Some(metadata) = gone_is_none(fs::symlink_metadata(path))? else {
            return Ok(0);
        };
        if metadata.dev() != device || !self.is_new(&metadata) {
            return Ok(0);
        }
        let mut bytes = metadata.blocks() * 512;
        if metadata.is_dir() {
            for entry in gone_is_none(fs::read_dir(path))?.into_iter().flatten() {
                let Some(entry) = gone_is_none(entry)? else {
                    continue;
                };
                bytes += self.below(&entry.path(), device)?;
            }
        }
        Ok(bytes)
    }

    fn is_new(&mut self, metadata: &fs::Metadata) -> bool {
        metadata.is_dir() || metadata.nlink() < 2 || self.seen.insert((metadata.dev(), metadata.ino()))
    }
}

fn gone_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

/// What takes how much of the disk. The parts add up to what `du` says of the state directory but for the database and
/// the directories that every store has.
#[derive(Clone, Debug, Default)]
pub struct DiskUsage {
    /// Layers and blobs that images need, blobs that are on their way, and what is being removed.
    pub images: u64,
    /// Of that, what would come free without the images that no container uses.
    pub images_reclaimable: u64,
    /// Per image, by manifest.
    pub image: HashMap<Digest, ImageUsage>,
    /// Writable layers and files of containers, by id.
    pub containers: BTreeMap<String, u64>,
    /// Volumes by name.
    pub volumes: BTreeMap<String, u64>,
    /// The build cache; items that are part of an image count there.
    pub cache: Vec<CacheItem>,
    /// What builds keep beside their results: logs.
    pub builds: u64,
}

/// What one image takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImageUsage {
    /// Layers that other images have too.
    pub shared: u64,
    /// The rest.
    pub unique: u64,
}

impl Store {
    /// Measures everything. `active` tells which images (by manifest) a container uses.
    pub fn disk_usage<E: From<StoreError>>(
        &self,
        images: Images<'_, E>,
        active: &dyn Fn(&Digest) -> bool,
    ) -> std::result::Result<DiskUsage, E> {
        lease::end_dead(&self.home)?;
        let (survey, needs) = self.survey(images)?;
        let mut meter = Meter::default();
        let sizes = self.snapshot_sizes(&survey, &mut meter)?;
        let mut usage = DiskUsage {
            cache: self.items(&survey, &sizes, &mut meter)?,
            containers: self.entries("containers", &mut meter)?,
            volumes: self.entries("volumes", &mut meter)?,
            builds: self.entries("builds", &mut meter)?.values().sum(),
            ..DiskUsage::default()
        };
        for (id, row) in &survey.rows {
            if let Some(container) = &row.container {
                *usage.containers.entry(container.clone()).or_default() += sizes[id];
            } else if row.active {
                usage.builds += sizes[id];
            }
        }
        let images = Layers::new(self, &survey, &needs, &sizes, &mut meter)?;
        images.fill(&mut usage, active);
        for folder in ["content/ingest", "trash"] {
            usage.images += self.entries(folder, &mut meter)?.values().sum::<u64>();
        }
        Ok(usage)
    }

    /// A consistent look at the database, and the images it was made with.
    pub(super) fn survey<E: From<StoreError>>(
        &self,
        images: Images<'_, E>,
    ) -> std::result::Result<(Survey, Vec<ImageNeeds>), E> {
        loop {
            let needs = images()?;
            if let Some(survey) = self.home.db.read(|db| survey(db, &needs))? {
                return Ok((survey, needs));
            }
        }
    }

    pub(super) fn snapshot_sizes(&self, survey: &Survey, meter: &mut Meter) -> Result<HashMap<i64, u64>> {
        let ids = survey.rows.keys();
        ids.map(|id| Ok((*id, meter.measure(&self.snapshots.directory(SnapshotId(*id)))?)))
            .collect()
    }

    /// Size of each entry of a folder of the store.
    pub(super) fn entries(&self, folder: &str, meter: &mut Meter) -> Result<BTreeMap<String, u64>> {
        let folder = self.home.root.join(folder);
        let mut sizes = BTreeMap::new();
        for entry in folder.read_dir_utf8().at("read", &folder)? {
            let entry = entry.at("read", &folder)?;
            sizes.insert(entry.file_name().to_owned(), meter.measure(entry.path())?);
        }
        Ok(sizes)
    }
}

/// The parts that images consist of, with their sizes.
struct Layers<'a> {
    /// Per image: its parts.
    images: Vec<(&'a Digest, HashSet<Part>)>,
    sizes: HashMap<Part, u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    Snapshot(i64),
    Blob(Digest),
}

impl<'a> Layers<'a> {
    fn new(
        store: &Store,
        survey: &Survey,
        needs: &'a [ImageNeeds],
        snapshots: &HashMap<i64, u64>,
        meter: &mut Meter,
    ) -> Result<Self> {
        let mut sizes: HashMap<Part, u64> = HashMap::new();
        let blobs = store.home.root.join("content/blobs/sha256");
        for entry in blobs.read_dir_utf8().at("read", &blobs)? {
            let entry = entry.at("read", &blobs)?;
            if let Ok(digest) = Digest::from_hex(entry.file_name()) {
                sizes.insert(Part::Blob(digest), meter.measure(entry.path())?);
            }
        }
        for (id, row) in survey.rows.iter().filter(|(_, row)| row.image) {
            debug_assert!(!row.active, "nothing lies on an active snapshot");
            sizes.insert(Part::Snapshot(*id), snapshots[id]);
        }
        let images = needs.iter().map(|image| {
            let blobs = image.blobs.iter().copied().map(Part::Blob);
            let snapshots = survey.chain(image.top.as_ref()).into_iter().map(Part::Snapshot);
            (&image.manifest, blobs.chain(snapshots).collect())
        });
        Ok(Self {
            images: images.collect(),
            sizes,
        })
    }

    fn fill(&self, usage: &mut DiskUsage, active: &dyn Fn(&Digest) -> bool) {
        let mut users: HashMap<Part, usize> = HashMap::new();
        let mut needed: HashSet<Part> = HashSet::new();
        for (manifest, parts) in &self.images {
            parts
                .iter()
                .for_each(|part| *users.entry(*part).or_default() += 1);
            if active(manifest) {
                needed.extend(parts);
            }
        }
        for (part, size) in &self.sizes {
            usage.images += size;
            if !needed.contains(part) {
                usage.images_reclaimable += size;
            }
        }
        for (manifest, parts) in &self.images {
            let image = usage.image.entry(**manifest).or_default();
            for part in parts {
                let size = self.sizes.get(part).copied().unwrap_or_default();
                match users[part] {
                    1 => image.unique += size,
                    _ => image.shared += size,
                }
            }
        }
    }
}
