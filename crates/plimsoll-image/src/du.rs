//! What an image costs: by layer, by directory, and what later layers wasted.
//!
//! Read from the layers' directories, without mounting: a list of names and sizes per layer, laid on each other as
//! overlayfs would. Only sizes are read, no contents.

mod waste;

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use plimsoll_layer::{Listed, ListedKind};
use plimsoll_store::SnapshotId;

use crate::{Image, Images, Result};
pub use waste::{Waste, WasteCause};

/// What an image costs. All sizes are bytes of files, each inode of a layer counted once.
#[derive(Debug, Default)]
pub struct ImageUsage {
    /// Every layer, base first.
    pub layers: Vec<LayerUsage>,
    /// What later layers covered or deleted, the greatest first.
    pub waste: Vec<Waste>,
    /// Path to what a container sees there.
    files: BTreeMap<Box<[u8]>, File>,
}

/// What one layer costs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayerUsage {
    /// Bytes of its files.
    pub size: u64,
    /// How many files it has.
    pub files: u64,
    /// Bytes of its files that a later layer covered or deleted.
    pub wasted: u64,
}

/// What a directory costs, with all that is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirectoryUsage {
    /// Absolute, as bytes: names in images need not be UTF-8.
    pub path: Vec<u8>,
    /// Bytes that a container sees there.
    pub size: u64,
    /// Files that a container sees there.
    pub files: u64,
    /// Bytes in layers that a later layer covered or deleted.
    pub wasted: u64,
}

#[derive(Clone, Copy, Debug)]
struct File {
    layer: usize,
    size: u64,
}

/// A file a container sees, its size and the layer it is from.
#[derive(Clone, Copy, Debug)]
pub struct FileUsage<'a> {
    /// Without a slash at the beginning.
    pub path: &'a [u8],
    /// Its bytes.
    pub size: u64,
    /// Number of its layer, counted from the base.
    pub layer: usize,
}

impl Images {
    /// Returns what the image costs.
    pub fn usage(&self, image: &Image) -> Result<ImageUsage> {
        let lists = self.lists(&self.layer_snapshots(image)?)?;
        Ok(ImageUsage::of(lists))
    }

    /// Lists the layers, several at a time.
    fn lists(&self, layers: &[SnapshotId]) -> Result<Vec<Vec<Listed>>> {
        let next = AtomicUsize::new(0);
        let done = Mutex::new(Vec::with_capacity(layers.len()));
        let work = || {
            while let Some(layer) = layers.get(next.fetch_add(1, Ordering::Relaxed)) {
                let list = self.store.snapshots().list(*layer);
                done.lock().expect("nobody panics with it").push((*layer, list));
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..threads.min(layers.len()) {
                scope.spawn(work);
            }
        });
        let mut done: HashMap<_, _> = done
            .into_inner()
            .expect("nobody panics with it")
            .into_iter()
            .collect();
        let list = |layer| Ok(done.remove(layer).expect("each layer is listed")?);
        layers.iter().map(list).collect()
    }
}

impl ImageUsage {
    fn of(lists: Vec<Vec<Listed>>) -> Self {
        let mut usage = Self::default();
        let mut raw = Vec::new();
        for list in lists {
            usage.lay(list, &mut raw);
        }
        for waste in &raw {
            usage.layers[waste.layer].wasted += waste.size;
        }
        usage.waste = waste::gather(raw, &usage.files);
        usage
    }

    /// Lays one more layer on those that are there.
    fn lay(&mut self, list: Vec<Listed>, waste: &mut Vec<Waste>) {
        let layer = self.layers.len();
        let mut cost = LayerUsage::default();
        for entry in list {
            let path = &entry.path[..];
            match entry.kind {
                // A directory only covers what was there and was none.
                ListedKind::Directory => self.take(path, layer, WasteCause::Overwritten, waste),
                ListedKind::Opaque => self.take_below(path, layer, WasteCause::Deleted, waste),
                ListedKind::Deleted => {
                    self.take(path, layer, WasteCause::Deleted, waste);
                    self.take_below(path, layer, WasteCause::Deleted, waste);
                }
                ListedKind::File { size } => {
                    cost.size += size;
                    cost.files += 1;
                    self.take(path, layer, WasteCause::Overwritten, waste);
                    self.take_below(path, layer, WasteCause::Overwritten, waste);
                    self.files.insert(entry.path.into(), File { layer, size });
                }
            }
        }
        self.layers.push(cost);
    }

    /// Takes away what is at `path`.
    fn take(&mut self, path: &[u8], by: usize, cause: WasteCause, waste: &mut Vec<Waste>) {
        if let Some(file) = self.files.get(path).filter(|file| file.layer != by) {
            waste.push(Waste::of_file(path, file.size, file.layer, by, cause));
            self.files.remove(path);
        }
    }

    /// Takes away everything in `directory` that earlier layers have.
    fn take_below(&mut self, directory: &[u8], by: usize, cause: WasteCause, waste: &mut Vec<Waste>) {
        let covered: Vec<Box<[u8]>> = below(&self.files, directory)
            .filter(|(_, file)| file.layer != by)
            .map(|(path, _)| path.clone())
            .collect();
        for path in covered {
            self.take(&path, by, cause, waste);
        }
    }

    /// Bytes of all layers.
    pub fn size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).sum()
    }

    /// Bytes of all layers that no container sees.
    pub fn wasted(&self) -> u64 {
        self.layers.iter().map(|layer| layer.wasted).sum()
    }

    /// Every file a container sees, sorted by path.
    pub fn files(&self) -> impl Iterator<Item = FileUsage<'_>> {
        self.files.iter().map(|(path, file)| FileUsage {
            path,
            size: file.size,
            layer: file.layer,
        })
    }

    /// Returns what each directory costs, down to `depth` names below the root, the greatest first.
    pub fn directories(&self, depth: usize) -> Vec<DirectoryUsage> {
        let mut sums: HashMap<&[u8], DirectoryUsage> = HashMap::new();
        for (path, file) in &self.files {
            for directory in directories_of(path, depth) {
                let sum = sums.entry(directory).or_default();
                sum.size += file.size;
                sum.files += 1;
            }
        }
        for waste in &self.waste {
            let slash: &[u8] = if waste.is_directory { b"/" } else { b"" };
            let path = [&waste.path[1..], slash].concat();
            for directory in directories_of(&path, depth) {
                // Deleted with all that was in it, there is no directory to show.
                if let Some(sum) = sums.get_mut(directory) {
                    sum.wasted += waste.size;
                }
            }
        }
        let named = |(path, sum): (&[u8], DirectoryUsage)| DirectoryUsage {
            path: [b"/", path].concat(),
            ..sum
        };
        let mut all: Vec<_> = sums.into_iter().map(named).collect();
        all.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.path.cmp(&b.path)));
        all
    }
}

/// What is in `directory` (empty: the root), at any depth.
fn below<'a>(
    files: &'a BTreeMap<Box<[u8]>, File>,
    directory: &[u8],
) -> impl Iterator<Item = (&'a Box<[u8]>, &'a File)> {
    let mut prefix = directory.to_vec();
    if !prefix.is_empty() {
        prefix.push(b'/');
    }
    files
        .range::<[u8], _>((Bound::Included(&prefix[..]), Bound::Unbounded))
        .take_while(move |(path, _)| path.starts_with(&prefix))
}

/// The directories that `path` is in, as prefixes of it, the root first.
fn directories_of(path: &[u8], depth: usize) -> impl Iterator<Item = &[u8]> {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    std::iter::once(&path[..0]).chain(slashes.map(|(place, _)| &path[..place]).take(depth))
}

#[cfg(test)]
mod tests;
