//! Snapshots: layer directories stacked by overlayfs.
//!
//! `snapshots/<n>/fs` is one layer in overlay's own form (whiteouts are 0:0 devices, opaque directories carry an
//! xattr), `work` is overlay's scratch space and goes at commit; `n` is the row's number in base 36, short because the
//! mount options of 127 layers must fit a page on kernels before 6.5.
//!
//! **States.** A row is made `active` before its directory, turns `committed` after the last file was written, and
//! turns `removed` before the directory goes; the row itself goes last. So whatever a crash leaves can be named from
//! the database: active rows of dead leases and removed rows are swept by the first `prepare` of every process.
//!
//! **Durability.** Commit does not sync: after `kill -9` the page cache holds everything, and a sync per build step
//! would cost more than the step. Against loss of power: the row remembers the boot it was committed in until
//! [`crate::Store::sync`] has run or the kernel has had ten minutes to write back (it takes half a one). After another
//! boot, cache records of the others are dropped, and so are the chain ids of layers whose blob is there; so the worst
//! is that a step runs or a layer is unpacked again. Layers built here that an image is made of stay: nothing else has
//! them, and they are checked against their diff id when they are saved or pushed.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use camino::{Utf8Path, Utf8PathBuf};
use plimsoll_oci::Digest;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::content::ContentStore;
use crate::error::{At, Result, StoreError};
use crate::home::{Home, now};
use crate::lease;

/// Number of a snapshot's row; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct SnapshotId(pub i64);

impl std::fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What is known of a snapshot's layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerInfo {
    /// Digest of the layer's tar.
    pub diff_id: Digest,
    /// Digest of this and all layers below, per the OCI image specification.
    pub chain_id: Digest,
    /// Size of the layer's tar.
    pub tar_size: u64,
    /// Bytes of its files, each inode once: what Docker calls the layer's size.
    pub size: u64,
}

/// The snapshots of a store. Cheap to clone.
#[derive(Clone)]
pub struct Snapshots {
    pub(crate) home: Arc<Home>,
    pub(crate) swept: Arc<AtomicBool>,
}

impl Snapshots {
    /// Makes a writable snapshot on `parent`. Dropped without commit it is discarded; one whose process died is swept
    /// by the next command that prepares one.
    pub fn prepare(&self, parent: Option<SnapshotId>) -> Result<ActiveSnapshot> {
        self.sweep_once();
        let lease = self.process_lease()?;
        let id = self.insert(parent, Some(&lease), None)?;
        // From here on dropping it discards the row and whatever there is of the directory.
        let mut active = ActiveSnapshot {
            snapshots: self.clone(),
            id,
            upper: self.directory(id).join("fs").into(),
            work: self.directory(id).join("work").into(),
            lowers: Vec::new(),
            parent,
            armed: true,
        };
        active.lowers = parent
            .map(|parent| self.layers(parent))
            .transpose()?
            .unwrap_or_default();
        self.make_directories(id, active.lowers.first())?;
        Ok(active)
    }

    /// Makes a snapshot that a container keeps writing to; it survives this process. Removed with `remove`.
    pub fn prepare_container(&self, parent: Option<SnapshotId>, container: &str) -> Result<SnapshotId> {
        let active = self.prepare(parent)?;
        self.home.db.write(|tx| -> Result<()> {
            tx.prepare_cached("UPDATE snapshot SET lease = NULL, container = ?2 WHERE id = ?1")?
                .execute(params![active.id.0, container])?;
            Ok(())
        })?;
        Ok(active.keep())
    }

    /// What was made for a container with [`Snapshots::prepare_container`].
    pub fn of_container(&self, container: &str) -> Result<Vec<SnapshotId>> {
        self.home.db.read(|db| {
            let query = "SELECT id FROM snapshot WHERE container = ?1 AND kind <> 'removed'";
            let mut find = db.prepare_cached(query)?;
            let ids = find.query_map([container], |row| row.get(0).map(SnapshotId))?;
            Ok(ids.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Makes an active snapshot a parent for others. Nothing writes to it any more, and it is not mounted.
    pub fn commit(&self, active: ActiveSnapshot) -> Result<SnapshotId> {
        self.commit_as(active, None)
    }

    /// Unpacks a layer: prepare, apply, check `diff_id`, commit with the chain id. Finds the committed one if it is
    /// there; of several processes with the same layer one unpacks and the others wait for it.
    pub fn unpack(
        &self,
        parent: Option<SnapshotId>,
        diff_id: Digest,
        tar: &mut dyn io::Read,
    ) -> Result<SnapshotId> {
        let below = parent.map(|parent| self.layer(parent)).transpose()?;
        let chain_id = chain_id(below.map(|layer| layer.chain_id).as_ref(), &diff_id);
        let _lock = self.home.lock(&format!("unpack/{}", chain_id.hex()))?;
        if let Some(found) = self.by_chain_id(&chain_id)?
            && self.hold(found)?
        {
            return Ok(found);
        }
        let active = self.prepare(parent)?;
        let applied = plimsoll_layer::apply(tar, &active.upper, &active.lowers).map_err(|source| {
            StoreError::Layer {
                operation: "unpack",
                snapshot: active.id,
                source,
            }
        })?;
        if applied.diff_id != diff_id {
            return Err(StoreError::WrongDiffId {
                expected: diff_id,
                actual: applied.diff_id,
            });
        }
        let size = self.measure(active.id)?;
        let tar_size = applied.tar_size;
        self.commit_as(
            active,
            Some(LayerInfo {
                diff_id,
                chain_id,
                tar_size,
                size,
            }),
        )
    }

    /// Finds the committed snapshot of a stack of layers.
    pub fn by_chain_id(&self, chain_id: &Digest) -> Result<Option<SnapshotId>> {
        self.home.db.read(|db| {
            let query = "SELECT min(id) FROM snapshot WHERE chain_id = ?1 AND kind = 'committed'";
            let found: Option<i64> = db
                .prepare_cached(query)?
                .query_row([chain_id.to_string()], |row| row.get(0))?;
            Ok(found.map(SnapshotId))
        })
    }

    /// Protects a committed snapshot from collection as long as this process has the store open. Returns false when it
    /// has gone.
    pub fn hold(&self, id: SnapshotId) -> Result<bool> {
        let lease = self.process_lease()?;
        self.home.db.write(|tx| {
            let statement = "INSERT OR REPLACE INTO lease_ref (lease, kind, name) \
                             SELECT ?1, 'snapshot', id FROM snapshot WHERE id = ?2 AND kind = 'committed'";
            Ok(tx.prepare_cached(statement)?.execute(params![lease, id.0])? > 0)
        })
    }

    /// Says when a committed snapshot was made, where that was elsewhere. Somebody has to hold it: as it may now be older
    /// than every lease, nothing else protects it.
    pub fn date(&self, id: SnapshotId, created: i64) -> Result<()> {
        self.home.db.write(|tx| {
            tx.prepare_cached("UPDATE snapshot SET created = ?2 WHERE id = ?1 AND kind = 'committed'")?
                .execute(params![id.0, created])?;
            Ok(())
        })
    }

    /// Returns when a snapshot was prepared; of a committed one, when that was, in unix nanoseconds.
    pub fn created(&self, id: SnapshotId) -> Result<i64> {
        self.home.db.read(|db| {
            let mut find = db.prepare_cached("SELECT created FROM snapshot WHERE id = ?1")?;
            let created: Option<i64> = find.query_row([id.0], |row| row.get(0)).optional()?;
            created.ok_or(missing(id, "any"))
        })
    }

    /// Returns the snapshot that this one lies on.
    pub fn parent(&self, id: SnapshotId) -> Result<Option<SnapshotId>> {
        self.home.db.read(|db| {
            let mut find =
                db.prepare_cached("SELECT parent FROM snapshot WHERE id = ?1 AND kind <> 'removed'")?;
            let parent: Option<Option<i64>> = find.query_row([id.0], |row| row.get(0)).optional()?;
            parent
                .map(|parent| parent.map(SnapshotId))
                .ok_or(missing(id, "any"))
        })
    }

    /// Returns the layer directories, top first, as overlay's lowerdir wants them.
    pub fn layers(&self, id: SnapshotId) -> Result<Vec<PathBuf>> {
        let ids = self.home.db.read(|db| ancestry(db, id))?;
        Ok(ids
            .into_iter()
            .map(|id| self.directory(id).join("fs").into())
            .collect())
    }

    /// Returns what is known of a committed snapshot's layer if its tar has been written before.
    pub fn known_layer(&self, id: SnapshotId) -> Result<Option<LayerInfo>> {
        let (row, _) = self.home.db.read(|db| layer_row(db, id))?;
        row.diff_id.map(|_| self.layer(id)).transpose()
    }

    /// Returns digest and sizes of a committed snapshot's layer; computed on first use and kept in its row.
    pub fn layer(&self, id: SnapshotId) -> Result<LayerInfo> {
        let (row, parent) = self.home.db.read(|db| layer_row(db, id))?;
        if let Some(known) = row.complete() {
            return Ok(known);
        }
        let (diff_id, tar_size) = match (row.diff_id, row.tar_size) {
            (Some(diff_id), Some(tar_size)) => (diff_id, tar_size),
            _ => {
                let made = self.archive(id, &mut io::sink())?;
                (made.diff_id, made.tar_size)
            }
        };
        let size = row.size.map_or_else(|| self.measure(id), Ok)?;
        let below = parent.map(|parent| self.layer(parent)).transpose()?;
        let chain_id = chain_id(below.map(|layer| layer.chain_id).as_ref(), &diff_id);
        let layer = LayerInfo {
            diff_id,
            chain_id,
            tar_size,
            size,
        };
        self.home.db.write(|tx| -> Result<()> {
            tx.prepare_cached(
                "UPDATE snapshot SET diff_id = ?2, chain_id = ?3, tar_size = ?4, size = ?5 WHERE id = ?1",
            )?
            .execute(params![
                id.0,
                diff_id.to_string(),
                chain_id.to_string(),
                tar_size,
                size
            ])?;
            Ok(())
        })?;
        Ok(layer)
    }

    /// Returns the bytes of the files of a committed snapshot's own layer; counted on first use and kept in its row.
    pub fn size(&self, id: SnapshotId) -> Result<u64> {
        let (row, _) = self.home.db.read(|db| layer_row(db, id))?;
        if let Some(size) = row.size {
            return Ok(size);
        }
        let size = self.measure(id)?;
        self.home.db.write(|tx| -> Result<()> {
            tx.prepare_cached("UPDATE snapshot SET size = ?2 WHERE id = ?1")?
                .execute(params![id.0, size])?;
            Ok(())
        })?;
        Ok(size)
    }

    /// Returns everything that a snapshot's own layer has, sorted by path.
    pub fn list(&self, id: SnapshotId) -> Result<Vec<plimsoll_layer::Listed>> {
        plimsoll_layer::list(self.directory(id).join("fs").as_std_path()).map_err(|source| {
            StoreError::Layer {
                operation: "list",
                snapshot: id,
                source,
            }
        })
    }

    fn measure(&self, id: SnapshotId) -> Result<u64> {
        let size = |entry: &plimsoll_layer::Listed| match entry.kind {
            plimsoll_layer::ListedKind::File { size } => size,
            _ => 0,
        };
        Ok(self.list(id)?.iter().map(size).sum())
    }

    /// Writes the layer's tar, and fails naming the snapshot if it is not what [`Snapshots::layer`] says.
    ///
    /// For layers made here. A layer unpacked from someone else's tar is in the store as that blob: other programs
    /// order and pad differently.
    pub fn write_layer(&self, id: SnapshotId, out: &mut dyn io::Write) -> Result<LayerInfo> {
        let (row, _) = self.home.db.read(|db| layer_row(db, id))?;
        let made = self.archive(id, out)?;
        if let Some(expected) = row.diff_id.filter(|expected| *expected != made.diff_id) {
            return Err(StoreError::LayerChanged {
                snapshot: id,
                expected,
                actual: made.diff_id,
            });
        }
        if row.diff_id.is_none() {
            self.home.db.write(|tx| -> Result<()> {
                tx.prepare_cached("UPDATE snapshot SET diff_id = ?2, tar_size = ?3 WHERE id = ?1")?
                    .execute(params![id.0, made.diff_id.to_string(), made.tar_size])?;
                Ok(())
            })?;
        }
        self.layer(id)
    }

    /// Returns the snapshot that has the files of this one's layer on `parent`, with `latest`, in seconds since 1970, for
    /// every modification time after it. Where that changes nothing it is the same one.
    pub fn until(&self, id: SnapshotId, parent: Option<SnapshotId>, latest: i64) -> Result<SnapshotId> {
        let failed = |source| StoreError::Layer {
            operation: "archive",
            snapshot: id,
            source,
        };
        let upper = self.directory(id).join("fs");
        if parent == self.parent(id)?
            && !plimsoll_layer::is_later(upper.as_std_path(), latest).map_err(failed)?
        {
            return Ok(id);
        }
        let layer = plimsoll_layer::diff_until(upper.as_std_path(), latest, io::sink()).map_err(failed)?;
        let below = parent.map(|parent| self.layer(parent)).transpose()?;
        let chain_id = chain_id(below.map(|layer| layer.chain_id).as_ref(), &layer.diff_id);
        if let Some(found) = self.by_chain_id(&chain_id)?
            && self.hold(found)?
        {
            return Ok(found);
        }
        let (mut reader, writer) = io::pipe().at("make a pipe for", &upper)?;
        std::thread::scope(|scope| {
            let archive = scope.spawn(|| plimsoll_layer::diff_until(upper.as_std_path(), latest, writer));
            let unpacked = self.unpack(parent, layer.diff_id, &mut reader);
            // Without a reader the archive ends with a broken pipe, which is not the news.
            drop(reader);
            let archived = archive.join().expect("archiving does not panic");
            let unpacked = unpacked?;
            archived.map_err(failed)?;
            Ok(unpacked)
        })
    }

    /// Returns (upper, work) of a snapshot.
    pub fn directories(&self, id: SnapshotId) -> Result<(PathBuf, PathBuf)> {
        self.parent(id)?;
        Ok((
            self.directory(id).join("fs").into(),
            self.directory(id).join("work").into(),
        ))
    }

    /// Removes a snapshot that no other lies on. Fine when it is not there.
    pub fn remove(&self, id: SnapshotId) -> Result<()> {
        self.home.db.write(|tx| {
            let mut children =
                tx.prepare_cached("SELECT 1 FROM snapshot WHERE parent = ?1 AND kind <> 'removed'")?;
            if children.exists([id.0])? {
                return Err(StoreError::SnapshotInUse { snapshot: id });
            }
            tx.prepare_cached("DELETE FROM cache_record WHERE snapshot = ?1")?
                .execute([id.0])?;
            tx.prepare_cached(
                "UPDATE snapshot SET kind = 'removed', chain_id = NULL, lease = NULL WHERE id = ?1",
            )?
            .execute([id.0])?;
            Ok(())
        })?;
        self.bury(id)
    }

    /// Digest of what an upper directory changes: paths, types, modes, owners, xattrs, link targets, device numbers and
    /// bytes, but not modification times. Two runs of one step with the same digest are the same for all that follows.
    pub fn diff_digest(&self, upper: &Path) -> Result<Digest> {
        plimsoll_layer::content_digest(upper).map_err(|source| StoreError::Layer {
            operation: "read",
            snapshot: snapshot_of(upper).unwrap_or(SnapshotId(0)),
            source,
        })
    }

    /// Writes everything in the store back to disk and marks the committed snapshots as durable.
    pub(crate) fn sync(&self) -> Result<()> {
        let home = &self.home;
        let newest: Option<i64> = home.db.read(|db| -> Result<_> {
            let query = "SELECT max(id) FROM snapshot WHERE boot IS NOT NULL AND kind = 'committed'";
            Ok(db.prepare_cached(query)?.query_row([], |row| row.get(0))?)
        })?;
        let Some(newest) = newest else { return Ok(()) };
        // The list of what is committed now: a lower number may still be active and commit during the sync.
        let ids: Vec<i64> = home.db.read(|db| -> Result<_> {
            let query = "SELECT id FROM snapshot WHERE boot IS NOT NULL AND kind = 'committed' AND id <= ?1";
            Ok(db
                .prepare_cached(query)?
                .query_map([newest], |row| row.get(0))?
                .collect::<Result<_, _>>()?)
        })?;
        let root = fs::File::open(&home.root).at("open", &home.root)?;
        rustix::fs::syncfs(&root).at("sync", &home.root)?;
        home.db.write(|tx| -> Result<()> {
            let mut mark = tx.prepare_cached("UPDATE snapshot SET boot = NULL WHERE id = ?1")?;
            ids.iter().try_for_each(|id| mark.execute([id]).map(drop))?;
            Ok(())
        })
    }

    fn commit_as(&self, active: ActiveSnapshot, layer: Option<LayerInfo>) -> Result<SnapshotId> {
        crate::trash::remove_all(utf8(&active.work)?)?;
        let _linking = self.home.linking()?;
        let changed = self.home.db.write(|tx| -> Result<_> {
            let statement = "UPDATE snapshot SET kind = 'committed', lease = NULL, boot = ?2, diff_id = ?3, \
                             chain_id = ?4, tar_size = ?5, created = ?6, size = ?7 \
                             WHERE id = ?1 AND kind = 'active'";
            Ok(tx.prepare_cached(statement)?.execute(params![
                active.id.0,
                self.home.boot,
                layer.map(|layer| layer.diff_id.to_string()),
                layer.map(|layer| layer.chain_id.to_string()),
                layer.map(|layer| layer.tar_size),
                now(),
                layer.map(|layer| layer.size),
            ])?)
        })?;
        match changed {
            0 => Err(missing(active.id, "an active")),
            _ => Ok(active.keep()),
        }
    }

    fn insert(
        &self,
        parent: Option<SnapshotId>,
        lease: Option<&str>,
        container: Option<&str>,
    ) -> Result<SnapshotId> {
        self.home.db.write(|tx| {
            if let Some(parent) = parent {
                let mut committed =
                    tx.prepare_cached("SELECT 1 FROM snapshot WHERE id = ?1 AND kind = 'committed'")?;
                if !committed.exists([parent.0])? {
                    return Err(missing(parent, "a committed"));
                }
            }
            let statement = "INSERT INTO snapshot (parent, kind, lease, container, created) \
                             VALUES (?1, 'active', ?2, ?3, ?4)";
            let mut insert = tx.prepare_cached(statement)?;
            Ok(SnapshotId(insert.insert(params![
                parent.map(|parent| parent.0),
                lease,
                container,
                now()
            ])?))
        })
    }

    /// `fs` becomes the root directory of whoever mounts it, so it looks like the parent's.
    fn make_directories(&self, id: SnapshotId, parent: Option<&PathBuf>) -> Result<()> {
        let directory = self.directory(id);
        // A row that was rolled back by a loss of power may have left its directory, and its number is used again.
        self.home.discard(&directory)?;
        let upper = directory.join("fs");
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&directory)
            .at("create", &directory)?;
        fs::DirBuilder::new()
            .mode(0o700)
            .create(directory.join("work"))
            .at("create", &directory)?;
        fs::create_dir(&upper).at("create", &upper)?;
        let (mode, owner) = match parent {
            Some(parent) => {
                let metadata = fs::metadata(parent).at("examine", parent)?;
                (metadata.mode() & 0o7777, Some((metadata.uid(), metadata.gid())))
            }
            None => (0o755, None),
        };
        if let Some((user, group)) = owner {
            std::os::unix::fs::chown(&upper, Some(user), Some(group)).at("change the owner of", &upper)?;
        }
        fs::set_permissions(&upper, fs::Permissions::from_mode(mode)).at("change the mode of", &upper)
    }

    /// Writes a committed snapshot's tar to `out`.
    fn archive(&self, id: SnapshotId, out: &mut dyn io::Write) -> Result<plimsoll_layer::Applied> {
        plimsoll_layer::diff(self.directory(id).join("fs").as_std_path(), out).map_err(|source| {
            StoreError::Layer {
                operation: "archive",
                snapshot: id,
                source,
            }
        })
    }

    pub(crate) fn directory(&self, id: SnapshotId) -> Utf8PathBuf {
        self.home.root.join("snapshots").join(base36(id.0))
    }

    /// Removes the directory, then the row, of a snapshot marked `removed`.
    pub(crate) fn bury(&self, id: SnapshotId) -> Result<()> {
        self.home.discard(&self.directory(id))?;
        self.home.db.write(|tx| -> Result<()> {
            // While somebody else removes one that lay on it, its row has to stay; a sweep finds it.
            let statement = "DELETE FROM snapshot WHERE id = ?1 AND kind = 'removed' \
                             AND NOT EXISTS (SELECT 1 FROM snapshot WHERE parent = ?1)";
            tx.prepare_cached(statement)?.execute([id.0])?;
            Ok(())
        })
    }

    /// The lease that this process's active snapshots belong to.
    fn process_lease(&self) -> Result<String> {
        self.home.protect()?;
        let lease = self.home.own_lease();
        Ok(lease
            .as_ref()
            .expect("only dropping the store ends it")
            .id
            .clone())
    }

    /// Clears away what dead processes left; once per process, and never a reason to fail.
    fn sweep_once(&self) {
        if self.swept.swap(true, Ordering::Relaxed) {
            return;
        }
        if let Err(error) = self.sweep() {
            tracing::debug!(%error, "could not sweep the store");
        }
    }

    pub(crate) fn sweep(&self) -> Result<()> {
        lease::end_dead(&self.home)?;
        self.home.trust_settled()?;
        let removed: Vec<i64> = self.home.db.read(|db| -> Result<_> {
            // Children first: a parent's row can only go after theirs.
            let query = "SELECT id FROM snapshot WHERE kind = 'removed' ORDER BY id DESC";
            Ok(db
                .prepare_cached(query)?
                .query_map([], |row| row.get(0))?
                .collect::<Result<_, _>>()?)
        })?;
        for id in removed {
            self.bury(SnapshotId(id))?;
        }
        self.home.empty_trash();
        ContentStore {
            home: Arc::clone(&self.home),
        }
        .sweep_ingest()
    }
}

/// A snapshot being written. Dropped without [`Snapshots::commit`] it is discarded.
pub struct ActiveSnapshot {
    snapshots: Snapshots,
    id: SnapshotId,
    upper: PathBuf,
    work: PathBuf,
    lowers: Vec<PathBuf>,
    parent: Option<SnapshotId>,
    armed: bool,
}

impl ActiveSnapshot {
    /// Returns its number.
    pub fn id(&self) -> SnapshotId {
        self.id
    }

    /// Returns the snapshot below.
    pub fn parent(&self) -> Option<SnapshotId> {
        self.parent
    }

    /// Returns the directory that takes the changes: overlay's upperdir.
    pub fn upper(&self) -> &Path {
        &self.upper
    }

    /// Returns overlay's workdir.
    pub fn work(&self) -> &Path {
        &self.work
    }

    /// Returns the parent's layer directories, top first: overlay's lowerdir.
    pub fn lowers(&self) -> &[PathBuf] {
        &self.lowers
    }

    fn keep(mut self) -> SnapshotId {
        self.armed = false;
        self.id
    }
}

impl Drop for ActiveSnapshot {
    fn drop(&mut self) {
        if self.armed
            && let Err(error) = self.snapshots.remove(self.id)
        {
            tracing::debug!(snapshot = %self.id, %error, "an active snapshot was left to the next sweep");
            // Where the database cannot be written for want of room, this makes some. A row without files is swept, too.
            let _ = self.snapshots.home.discard(&self.snapshots.directory(self.id));
        }
    }
}

/// Returns the [chain id] of a layer with this diff id on the chain `parent`.
///
/// [chain id]: https://github.com/opencontainers/image-spec/blob/main/config.md#layer-chainid
pub fn chain_id(parent: Option<&Digest>, diff_id: &Digest) -> Digest {
    match parent {
        None => *diff_id,
        Some(parent) => Digest::of(format!("{parent} {diff_id}")),
    }
}

struct LayerRow {
    diff_id: Option<Digest>,
    chain_id: Option<Digest>,
    tar_size: Option<u64>,
    size: Option<u64>,
}

impl LayerRow {
    /// What is there when nothing is missing.
    fn complete(&self) -> Option<LayerInfo> {
        Some(LayerInfo {
            diff_id: self.diff_id?,
            chain_id: self.chain_id?,
            tar_size: self.tar_size?,
            size: self.size?,
        })
    }
}

fn layer_row(db: &Connection, id: SnapshotId) -> Result<(LayerRow, Option<SnapshotId>)> {
    let query =
        "SELECT diff_id, chain_id, tar_size, parent, size FROM snapshot WHERE id = ?1 AND kind = 'committed'";
    let row = db.prepare_cached(query)?.query_row([id.0], |row| {
        let digest = |text: Option<String>| text.and_then(|text| text.parse().ok());
        let layer = LayerRow {
            diff_id: digest(row.get(0)?),
            chain_id: digest(row.get(1)?),
            tar_size: row.get(2)?,
            size: row.get(4)?,
        };
        Ok((layer, row.get::<_, Option<i64>>(3)?.map(SnapshotId)))
    });
    row.optional()?.ok_or(missing(id, "a committed"))
}

/// The snapshot and all below it, top first.
fn ancestry(db: &Connection, id: SnapshotId) -> Result<Vec<SnapshotId>> {
    let query = "WITH RECURSIVE chain (id, parent, depth) AS ( \
                   SELECT id, parent, 0 FROM snapshot WHERE id = ?1 AND kind <> 'removed' \
                   UNION ALL \
                   SELECT s.id, s.parent, depth + 1 FROM snapshot s JOIN chain c ON s.id = c.parent \
                 ) SELECT id FROM chain ORDER BY depth";
    let ids: Vec<SnapshotId> = db
        .prepare_cached(query)?
        .query_map([id.0], |row| Ok(SnapshotId(row.get(0)?)))?
        .collect::<Result<_, _>>()?;
    if ids.is_empty() {
        Err(missing(id, "any"))
    } else {
        Ok(ids)
    }
}

fn missing(snapshot: SnapshotId, wanted: &'static str) -> StoreError {
    StoreError::MissingSnapshot { snapshot, wanted }
}

pub(crate) fn base36(mut number: i64) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(char::from_digit((number % 36) as u32, 36).expect("a remainder of 36 is a digit"));
        number /= 36;
        if number == 0 {
            return digits.into_iter().rev().collect();
        }
    }
}

/// The number in `.../snapshots/<n>/fs`, for messages.
fn snapshot_of(upper: &Path) -> Option<SnapshotId> {
    let name = upper.parent()?.file_name()?.to_str()?;
    i64::from_str_radix(name, 36).ok().map(SnapshotId)
}

fn utf8(path: &Path) -> Result<&Utf8Path> {
    Utf8Path::from_path(path)
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))
        .at("use", path)
}
