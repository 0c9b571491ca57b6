//! Garbage collection: what may go, and taking it away.
//!
//! **What keeps a snapshot**: a snapshot on it; an image, named or not, whose top layer it is; a container that writes
//! to it; a living [`Lease`](crate::Lease) that names it, or that began before the snapshot was made or its cache record
//! last used; a cache record, until [`Store::prune`] takes that away. A blob is kept by images and leases in the same way.
//!
//! **Beside builds.** A process takes its lease before it looks for anything, and finding something in the cache moves
//! `last_used` in the transaction that finds it. What may go is decided in one write transaction, so that the finder is
//! either first, and the snapshot stays, or does not find it. The `store` lock is held exclusively for that transaction
//! and for moving blobs into the trash; files are removed after it.
//!
//! **Killed anywhere**: snapshots are marked `removed` first and are swept by the next process that prepares one; a blob
//! whose row has gone and whose file is still there is written again or removed by the next collection.

mod cache;
mod usage;

use std::collections::{BTreeMap, HashMap, HashSet};

use plimsoll_oci::Digest;
use rusqlite::{Connection, Transaction};

pub use cache::{CacheItem, CacheKind, PruneRequest};
pub use usage::{DiskUsage, ImageUsage, Meter};

use crate::error::{At, Result, StoreError};
use crate::home::{Home, random_name};
use crate::{SnapshotId, Store, lease};

/// What one image of the store needs; worked out by those who can read manifests.
#[derive(Clone, Debug)]
pub struct ImageNeeds {
    /// Its manifest: the key of its row.
    pub manifest: Digest,
    /// Manifest, configuration, index, and layers as blobs; some need not be there.
    pub blobs: Vec<Digest>,
    /// Chain id of its top layer.
    pub top: Option<Digest>,
}

/// Looks up what every image needs. Called again when an image came meanwhile.
type Images<'a, E> = &'a dyn Fn() -> std::result::Result<Vec<ImageNeeds>, E>;

impl Store {
    /// Removes what nothing needs any more: layers and blobs of removed images, results of builds that were replaced.
    /// Returns the bytes that came free.
    pub fn collect<E: From<StoreError>>(&self, images: Images<'_, E>) -> std::result::Result<u64, E> {
        lease::end_dead(&self.home)?;
        let snapshots = self.sweep(images, &|_, _| Ok(Vec::new()))?;
        Ok(self.bury_all(&snapshots, &mut |_, _| {})?)
    }

    /// Marks as removed what `choose` takes out of the survey, and what no cache record keeps; moves the blobs that
    /// nothing needs into the trash. Returns the snapshots, children before parents.
    fn sweep<E: From<StoreError>>(
        &self,
        images: Images<'_, E>,
        choose: &dyn Fn(&Transaction<'_>, &mut Survey) -> Result<Vec<i64>>,
    ) -> std::result::Result<Vec<SnapshotId>, E> {
        loop {
            let needs = images()?;
            let _collecting = self.home.collecting()?;
            let swept = self.home.db.write(|tx| -> Result<_> {
                let Some(mut survey) = survey(tx, &needs)? else {
                    return Ok(None);
                };
                let mut snapshots = choose(tx, &mut survey)?;
                snapshots.extend(survey.garbage());
                remove_rows(tx, &snapshots, &survey.blobs)?;
                Ok(Some(snapshots))
            })?;
            if let Some(snapshots) = swept {
                entomb_blobs(&self.home)?;
                return Ok(snapshots.into_iter().map(SnapshotId).collect());
            }
        }
    }

    /// Removes the files of what was swept, telling `report` of each snapshot and its bytes, and empties the trash.
    fn bury_all(&self, swept: &[SnapshotId], report: &mut dyn FnMut(SnapshotId, u64)) -> Result<u64> {
        let mut meter = Meter::default();
        let mut bytes = self.entries("trash", &mut meter)?.values().sum();
        self.home.empty_trash();
        for id in swept {
            let size = meter.measure(&self.snapshots.directory(*id))?;
            self.snapshots.bury(*id)?;
            bytes += size;
            report(*id, size);
        }
        Ok(bytes)
    }
}

/// One look at the database.
pub(crate) struct Survey {
    pub(crate) rows: BTreeMap<i64, Row>,
    /// The first snapshot of each chain of layers, which is the one that is found.
    chains: HashMap<String, i64>,
    /// Blobs that nothing needs.
    blobs: Vec<Digest>,
}

/// A snapshot as the collection sees it.
#[derive(Default)]
pub(crate) struct Row {
    pub(crate) parent: Option<i64>,
    pub(crate) active: bool,
    pub(crate) container: Option<String>,
    chain: Option<String>,
    pub(crate) created: i64,
    /// Snapshots on it.
    pub(crate) children: usize,
    /// Part of an image.
    pub(crate) image: bool,
    /// In the hands of a process or a container.
    pub(crate) used: bool,
    /// Has a cache record.
    pub(crate) recorded: bool,
    pub(crate) last_used: i64,
    pub(crate) description: String,
}

impl Row {
    /// Nothing but a cache record keeps it.
    pub(crate) fn is_free(&self) -> bool {
        self.children == 0 && !self.image && !self.used
    }
}

impl Survey {
    fn new(rows: BTreeMap<i64, Row>) -> Self {
        // Backwards, so that the lowest number is the one that stays.
        let named = |(id, row): (&i64, &Row)| Some((row.chain.clone()?, *id));
        Self {
            chains: rows.iter().rev().filter_map(named).collect(),
            blobs: Vec::new(),
            rows,
        }
    }

    /// The snapshots of an image, top first; none where it is not unpacked.
    fn chain(&self, top: Option<&Digest>) -> Vec<i64> {
        let first = top.and_then(|top| self.chains.get(&top.to_string()).copied());
        std::iter::successors(first, |id| self.rows.get(id)?.parent).collect()
    }

    /// Takes a row out.
    pub(crate) fn remove(&mut self, id: i64) {
        if let Some(parent) = self.rows.remove(&id).and_then(|row| row.parent)
            && let Some(parent) = self.rows.get_mut(&parent)
        {
            parent.children -= 1;
        }
    }

    /// Takes out what has no cache record either; children come before parents, whose numbers are lower.
    fn garbage(&mut self) -> Vec<i64> {
        let ids: Vec<i64> = self.rows.keys().rev().copied().collect();
        let mut garbage = Vec::new();
        for id in ids {
            if self.rows[&id].is_free() && !self.rows[&id].recorded {
                self.remove(id);
                garbage.push(id);
            }
        }
        garbage
    }

    /// Marks a snapshot and all below it as used.
    fn mark_used(&mut self, id: i64) {
        let mut next = Some(id);
        while let Some(row) = next.and_then(|id| self.rows.get_mut(&id)) {
            if std::mem::replace(&mut row.used, true) {
                break;
            }
            next = row.parent;
        }
    }
}

/// Reads everything that decides; none when an image is there that `needs` does not know.
pub(crate) fn survey(db: &Connection, needs: &[ImageNeeds]) -> Result<Option<Survey>> {
    let known: HashSet<String> = needs.iter().map(|image| image.manifest.to_string()).collect();
    let images: Vec<String> = column(db, "SELECT manifest_digest FROM image")?;
    if !images.iter().all(|image| known.contains(image)) {
        return Ok(None);
    }
    let listed: HashSet<String> = images.into_iter().collect();
    let needs = || {
        needs
            .iter()
            .filter(|image| listed.contains(&image.manifest.to_string()))
    };
    let since = oldest_lease(db)?;
    let mut survey = Survey::new(rows(db)?);
    for image in needs() {
        for id in survey.chain(image.top.as_ref()) {
            survey.rows.entry(id).and_modify(|row| row.image = true);
        }
    }
    for id in used(db, &survey, since)? {
        survey.mark_used(id);
    }
    let needed: HashSet<String> = needs()
        .flat_map(|image| &image.blobs)
        .map(Digest::to_string)
        .chain(column(db, "SELECT name FROM lease_ref WHERE kind = 'blob'")?)
        .collect();
    let old = format!("SELECT digest FROM blob WHERE created < {since}");
    survey.blobs = column::<String>(db, &old)?
        .iter()
        .filter(|digest| !needed.contains(*digest))
        .filter_map(|digest| digest.parse().ok())
        .collect();
    Ok(Some(survey))
}

fn rows(db: &Connection) -> Result<BTreeMap<i64, Row>> {
    let query = "SELECT s.id, s.parent, s.kind = 'active', s.container, \
                   CASE WHEN s.kind = 'committed' THEN s.chain_id END, s.created, \
                   max(r.last_used), coalesce(max(r.description), '') \
                 FROM snapshot s LEFT JOIN cache_record r ON r.snapshot = s.id \
                 WHERE s.kind <> 'removed' GROUP BY s.id";
    let mut statement = db.prepare(query)?;
    let read = statement.query_map([], |row| {
        let created: i64 = row.get(5)?;
        let last_used: Option<i64> = row.get(6)?;
        let snapshot = Row {
            parent: row.get(1)?,
            active: row.get(2)?,
            container: row.get(3)?,
            chain: row.get(4)?,
            created,
            recorded: last_used.is_some(),
            last_used: last_used.unwrap_or(created),
            description: row.get(7)?,
            ..Row::default()
        };
        Ok((row.get(0)?, snapshot))
    })?;
    let mut rows: BTreeMap<i64, Row> = read.collect::<std::result::Result<_, _>>()?;
    let parents: Vec<i64> = rows.values().filter_map(|row| row.parent).collect();
    for parent in parents {
        if let Some(row) = rows.get_mut(&parent) {
            row.children += 1;
        }
    }
    Ok(rows)
}

/// What containers write to, and what leases protect. An active snapshot without either was left by a process that died.
fn used(db: &Connection, survey: &Survey, since: i64) -> Result<Vec<i64>> {
    let containers: HashSet<String> = column(db, "SELECT id FROM container")?.into_iter().collect();
    let leased = "SELECT CAST(name AS INTEGER) FROM lease_ref WHERE kind = 'snapshot' \
                  UNION SELECT id FROM snapshot WHERE kind = 'active' AND lease IS NOT NULL";
    let mut used: Vec<i64> = column(db, leased)?;
    let in_hand = |row: &Row| {
        let of_container = row.container.as_ref().is_some_and(|id| containers.contains(id));
        of_container || row.created.max(row.last_used) >= since
    };
    used.extend(
        survey
            .rows
            .iter()
            .filter(|(_, row)| in_hand(row))
            .map(|(id, _)| *id),
    );
    Ok(used)
}

/// When the oldest lease began; the end of time without one.
fn oldest_lease(db: &Connection) -> Result<i64> {
    let oldest: Option<i64> = db.query_row("SELECT min(created) FROM lease", [], |row| row.get(0))?;
    Ok(oldest.unwrap_or(i64::MAX))
}

fn remove_rows(tx: &Transaction<'_>, snapshots: &[i64], blobs: &[Digest]) -> Result<()> {
    let mut forget = tx.prepare_cached("DELETE FROM cache_record WHERE snapshot = ?1")?;
    let removed = "UPDATE snapshot SET kind = 'removed', chain_id = NULL, lease = NULL WHERE id = ?1";
    let mut mark = tx.prepare_cached(removed)?;
    for id in snapshots {
        forget.execute([id])?;
        mark.execute([id])?;
    }
    let mut delete = tx.prepare_cached("DELETE FROM blob WHERE digest = ?1")?;
    for blob in blobs {
        delete.execute([blob.to_string()])?;
    }
    Ok(())
}

/// Moves every blob without a row into the trash: one rename each, and nobody can link a blob meanwhile.
fn entomb_blobs(home: &Home) -> Result<()> {
    let known: Vec<String> = home.db.read(|db| column(db, "SELECT digest FROM blob"))?;
    let known: HashSet<&str> = known
        .iter()
        .filter_map(|digest| digest.split(':').nth(1))
        .collect();
    let folder = home.root.join("content/blobs/sha256");
    for entry in folder.read_dir_utf8().at("read", &folder)? {
        let entry = entry.at("read", &folder)?;
        if !known.contains(entry.file_name()) {
            let grave = home.root.join("trash").join(random_name()?);
            std::fs::rename(entry.path(), grave).at("move to the trash", entry.path())?;
        }
    }
    Ok(())
}

fn column<T: rusqlite::types::FromSql>(db: &Connection, query: &str) -> Result<Vec<T>> {
    let mut statement = db.prepare(query)?;
    let values = statement.query_map([], |row| row.get(0))?;
    Ok(values.collect::<std::result::Result<_, _>>()?)
}
