//! The build cache: what is in it, and pruning it.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File, TryLockError};
use std::time::UNIX_EPOCH;

use camino::{Utf8Path, Utf8PathBuf};
use rusqlite::Transaction;

use super::usage::Meter;
use super::{Images, Survey};
use crate::error::{At, Result, StoreError};
use crate::snapshot::base36;
use crate::{SnapshotId, Store, lease};

/// What an item of the build cache is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheKind {
    /// Files that a step left.
    Step(SnapshotId),
    /// A folder for `RUN --mount=type=cache`.
    Mount(Utf8PathBuf),
    /// What is known of the files of a build context.
    Context(Utf8PathBuf),
}

impl CacheKind {
    /// BuildKit's name of the record type.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Step(_) => "regular",
            Self::Mount(_) => "exec.cachemount",
            Self::Context(_) => "source.local",
        }
    }
}

/// An item of the build cache.
#[derive(Clone, Debug)]
pub struct CacheItem {
    /// Where it lies: below `snapshots`, `cache-mounts` (a folder, a dot, and the instance in it) or `contexts`.
    pub id: String,
    /// What it is.
    pub kind: CacheKind,
    /// The item it lies on.
    pub parent: Option<String>,
    /// Unix nanoseconds.
    pub created: i64,
    /// Unix nanoseconds.
    pub last_used: i64,
    /// The step.
    pub description: String,
    /// Bytes on disk.
    pub size: u64,
    /// Part of an image too: its files stay with that.
    pub shared: bool,
    /// A process or container needs it now, or something built on it.
    pub in_use: bool,
}

/// What is to go of the build cache.
#[derive(Default)]
pub struct PruneRequest<'a> {
    /// Also forgets which steps made the layers of images; their files stay.
    pub all: bool,
    /// Only what was used last before this time.
    pub until: Option<i64>,
    /// Only items for which this holds.
    pub matches: Option<&'a dyn Fn(&CacheItem) -> bool>,
    /// Stops when the cache takes no more than this.
    pub max_used: Option<u64>,
    /// Never takes the cache below this.
    pub reserved: Option<u64>,
    /// Stops when so much of the disk is free.
    pub min_free: Option<u64>,
}

impl PruneRequest<'_> {
    /// How much may stay of `total` bytes with `free` bytes of the disk free; none: no ceiling was given.
    ///
    /// As in [BuildKit], but that a disk with enough room is left alone.
    ///
    /// [BuildKit]: https://docs.docker.com/build/cache/garbage-collection/
    fn ceiling(&self, total: u64, free: u64) -> Option<u64> {
        let for_room = self
            .min_free
            .map(|wanted| total.saturating_sub(wanted.saturating_sub(free)));
        let ceiling = [self.max_used, for_room].into_iter().flatten().min();
        match (ceiling, self.reserved) {
            (None, reserved) => reserved,
            (ceiling, reserved) => ceiling.max(reserved),
        }
    }

    fn wants(&self, item: &CacheItem) -> bool {
        self.until.is_none_or(|until| item.last_used < until)
            && self.matches.is_none_or(|matches| matches(item))
            && (self.all || !item.shared)
    }
}

impl Store {
    /// Lists the build cache.
    pub fn cache<E: From<StoreError>>(&self, images: Images<'_, E>) -> Result<Vec<CacheItem>, E> {
        lease::end_dead(&self.home)?;
        let (survey, _) = self.survey(images)?;
        let mut meter = Meter::default();
        let sizes = self.snapshot_sizes(&survey, &mut meter)?;
        Ok(self.items(&survey, &sizes, &mut meter)?)
    }

    /// Removes items of the build cache, those first that were used longest ago, and tells `report` of each; then
    /// collects what nothing needs. Returns the bytes that came free.
    pub fn prune<E: From<StoreError>>(
        &self,
        images: Images<'_, E>,
        request: &PruneRequest<'_>,
        report: &mut dyn FnMut(&CacheItem),
    ) -> Result<u64, E> {
        let items = self.cache(images)?;
        let plan = plan(&items, request, self.free_space()?);
        let forget: Vec<&CacheItem> = plan.iter().copied().filter(|item| item.shared).collect();
        let steps: HashMap<i64, &CacheItem> = plan
            .iter()
            .filter_map(|item| Some((step(item)?, *item)))
            .collect();
        let order: Vec<i64> = plan.iter().filter_map(|item| step(item)).collect();
        let swept = self.sweep(images, &|tx, survey| {
            forget.iter().try_for_each(|item| forget_step(tx, survey, item))?;
            Ok(take(survey, &order, &steps))
        })?;
        forget.iter().for_each(|item| report(item));
        let mut bytes = self.bury_all(&swept, &mut |id, size| {
            if let Some(item) = steps.get(&id.0) {
                report(&CacheItem {
                    size,
                    ..(*item).clone()
                });
            }
        })?;
        for item in plan {
            if self.remove_folder(item)? {
                bytes += item.size;
                report(item);
            }
        }
        Ok(bytes)
    }

    /// Everything in the build cache, with the sizes of snapshots given.
    pub(super) fn items(
        &self,
        survey: &Survey,
        sizes: &HashMap<i64, u64>,
        meter: &mut Meter,
    ) -> Result<Vec<CacheItem>> {
        let steps = survey
            .rows
            .iter()
            .filter(|(_, row)| !row.active && (row.recorded || !row.image));
        let mut items: Vec<CacheItem> = steps
            .map(|(id, row)| CacheItem {
                id: base36(*id),
                kind: CacheKind::Step(SnapshotId(*id)),
                parent: row.parent.map(base36),
                created: row.created,
                last_used: row.last_used,
                description: row.description.clone(),
                size: sizes[id],
                shared: row.image,
                in_use: row.used,
            })
            .collect();
        items.extend(self.cache_mounts(meter)?);
        items.extend(self.contexts(meter)?);
        Ok(items)
    }

    /// The instances of cache mounts: `cache-mounts/<name>/{id,<n>,<n>.lock}`. The lock's file says when it was last taken.
    fn cache_mounts(&self, meter: &mut Meter) -> Result<Vec<CacheItem>> {
        let mut items = Vec::new();
        for folder in entries(&self.home.root.join("cache-mounts"))? {
            let note = folder.join("id");
            let description = fs::read_to_string(&note).unwrap_or_default();
            for path in entries(&folder)?.into_iter().filter(|path| path.is_dir()) {
                let used = modified(&lock_of(&path)).or(modified(&path));
                let parts = [folder.file_name(), path.file_name()];
                items.push(CacheItem {
                    id: parts.map(Option::unwrap_or_default).join("."),
                    parent: None,
                    created: modified(&note).unwrap_or_default(),
                    last_used: used.unwrap_or_default(),
                    description: description.clone(),
                    size: meter.measure(&path)?,
                    shared: false,
                    in_use: lock_alone(&path)?.is_none(),
                    kind: CacheKind::Mount(path),
                });
            }
        }
        Ok(items)
    }

    /// What is known of contexts: a file each, replaced as a whole.
    fn contexts(&self, meter: &mut Meter) -> Result<Vec<CacheItem>> {
        let mut items = Vec::new();
        for path in entries(&self.home.root.join("contexts"))? {
            let time = modified(&path).unwrap_or_default();
            items.push(CacheItem {
                id: path.file_stem().unwrap_or_default().to_owned(),
                parent: None,
                created: time,
                last_used: time,
                description: String::new(),
                size: meter.measure(&path)?,
                shared: false,
                in_use: false,
                kind: CacheKind::Context(path),
            });
        }
        Ok(items)
    }

    /// Removes a cache mount that no step has, or what is known of a context; false for what is not a folder's.
    fn remove_folder(&self, item: &CacheItem) -> Result<bool> {
        let _lock = match &item.kind {
            CacheKind::Step(_) => return Ok(false),
            CacheKind::Context(_) => None,
            CacheKind::Mount(path) => match lock_alone(path)? {
                None => return Ok(false),
                lock => lock,
            },
        };
        if let CacheKind::Mount(path) | CacheKind::Context(path) = &item.kind {
            self.home.discard(path)?;
        }
        Ok(true)
    }

    fn free_space(&self) -> Result<u64> {
        let root = &self.home.root;
        let status = rustix::fs::statvfs(root.as_std_path()).at("examine", root)?;
        Ok(status.f_bavail * status.f_frsize)
    }
}

fn entries(folder: &Utf8Path) -> Result<Vec<Utf8PathBuf>> {
    let entries = folder.read_dir_utf8().at("read", folder)?;
    Ok(entries.flatten().map(|entry| entry.path().to_owned()).collect())
}

fn modified(path: &Utf8Path) -> Option<i64> {
    let time = fs::symlink_metadata(path)
        .and_then(|metadata| metadata.modified())
        .ok()?;
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).ok()
}

fn lock_of(instance: &Utf8Path) -> Utf8PathBuf {
    format!("{instance}.lock").into()
}

/// Locks an instance of a cache mount against every step; none while one has it. The file stays: see the build's module.
fn lock_alone(instance: &Utf8Path) -> Result<Option<File>> {
    let path = lock_of(instance);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .at("open", &path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error).at("lock", path),
    }
}

fn step(item: &CacheItem) -> Option<i64> {
    match item.kind {
        CacheKind::Step(SnapshotId(id)) => Some(id),
        _ => None,
    }
}

/// What to remove, in order: used longest ago first, but never something that another lies on.
fn plan<'a>(items: &'a [CacheItem], request: &PruneRequest<'_>, free: u64) -> Vec<&'a CacheItem> {
    let mut total: u64 = items
        .iter()
        .filter(|item| !item.shared)
        .map(|item| item.size)
        .sum();
    let ceiling = request.ceiling(total, free);
    let mut children: HashMap<&str, usize> = HashMap::new();
    let parents = || items.iter().filter(|item| !item.shared);
    for parent in parents().filter_map(|item| item.parent.as_deref()) {
        *children.entry(parent).or_default() += 1;
    }
    let known: HashMap<&str, usize> = (0..items.len())
        .filter(|&index| step(&items[index]).is_some())
        .map(|index| (items[index].id.as_str(), index))
        .collect();
    let is_leaf = |children: &HashMap<&str, usize>, item: &CacheItem| {
        item.shared || step(item).is_none() || children.get(item.id.as_str()).is_none_or(|count| *count == 0)
    };
    let wanted = |item: &CacheItem| !item.in_use && request.wants(item);
    let mut queue: BTreeSet<(i64, usize)> = (0..items.len())
        .filter(|&index| is_leaf(&children, &items[index]) && wanted(&items[index]))
        .map(|index| (items[index].last_used, index))
        .collect();
    let mut plan = Vec::new();
    while ceiling.is_none_or(|ceiling| total > ceiling)
        && let Some((_, index)) = queue.pop_first()
    {
        let item = &items[index];
        plan.push(item);
        if item.shared {
            continue;
        }
        total -= item.size;
        let Some(parent) = item.parent.as_deref().filter(|_| step(item).is_some()) else {
            continue;
        };
        children.entry(parent).and_modify(|count| *count -= 1);
        if let Some(&index) = known.get(parent)
            && is_leaf(&children, &items[index])
            && wanted(&items[index])
        {
            queue.insert((items[index].last_used, index));
        }
    }
    plan
}

/// Takes out of the survey what is still free, and has not been used since it was planned.
fn take(survey: &mut Survey, order: &[i64], planned: &HashMap<i64, &CacheItem>) -> Vec<i64> {
    let mut taken = Vec::new();
    for id in order {
        let unused = |last_used: i64| last_used <= planned[id].last_used;
        if survey
            .rows
            .get(id)
            .is_some_and(|row| row.is_free() && unused(row.last_used))
        {
            survey.remove(*id);
            taken.push(*id);
        }
    }
    taken
}

/// Takes away the records of a layer that an image has.
fn forget_step(tx: &Transaction<'_>, survey: &mut Survey, item: &CacheItem) -> Result<()> {
    if let Some(id) = step(item)
        && let Some(row) = survey.rows.get_mut(&id)
        && row.image
        && !row.used
    {
        row.recorded = false;
        tx.prepare_cached("DELETE FROM cache_record WHERE snapshot = ?1")?
            .execute([id])?;
    }
    Ok(())
}
