//! What dead processes left behind: to be looked at ([`Store::leaks`]), and to be cleared away ([`Store::tidy`]).
//!
//! Everything half done has an owner whose lock dies with it, so a look asks for locks and believes no process id. A look
//! changes nothing. What it sees may be somebody's who is between two steps at that very moment; who wants to be sure looks
//! twice. Clearing is sure in itself: it takes the lock of what it clears.

use std::fmt;

use camino::Utf8Path;
use plimsoll_oci::Digest;
use rusqlite::OptionalExtension as _;
use rustix::fs::{FlockOperation, Mode, OFlags};
use serde::Serialize;

use crate::error::{At, Result};
use crate::snapshot::{SnapshotId, base36};
use crate::{Store, lease, lock};

/// Something that nobody owns any more.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Leak {
    /// What sort of thing it is.
    pub kind: LeakKind,
    /// Its name where it is.
    pub name: String,
    /// Whose it was, or why it is taken for a leak.
    pub reason: String,
}

/// Sorts of things that a process can leave behind when it is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LeakKind {
    /// A container that is said to run and does not, or the other way round.
    Container,
    /// A process of a container that does not run.
    Process,
    /// Something mounted below the store's folders.
    Mount,
    /// A network namespace that is kept by its name.
    Netns,
    /// A bridge of no network, or the host end of a container that does not run.
    Interface,
    /// A rule of the packet filter for a bridge that is no more.
    Rule,
    /// A published port that leads to no container.
    Port,
    /// An address taken by a container that does not run.
    Address,
    /// A control group of a container that does not run.
    Cgroup,
    /// A lock file nobody holds.
    Lock,
    /// A protection from garbage collection whose process is dead.
    Lease,
    /// A layer that nobody writes to any more.
    Snapshot,
    /// Files of nobody.
    File,
}

impl LeakKind {
    /// Every sort.
    pub const ALL: [Self; 13] = [
        Self::Container,
        Self::Process,
        Self::Mount,
        Self::Netns,
        Self::Interface,
        Self::Rule,
        Self::Port,
        Self::Address,
        Self::Cgroup,
        Self::Lock,
        Self::Lease,
        Self::Snapshot,
        Self::File,
    ];

    /// Returns its word, as it stands in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Process => "process",
            Self::Mount => "mount",
            Self::Netns => "netns",
            Self::Interface => "interface",
            Self::Rule => "rule",
            Self::Port => "port",
            Self::Address => "address",
            Self::Cgroup => "cgroup",
            Self::Lock => "lock",
            Self::Lease => "lease",
            Self::Snapshot => "snapshot",
            Self::File => "file",
        }
    }
}

impl fmt::Display for LeakKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl Leak {
    /// Puts one together.
    pub fn new(kind: LeakKind, name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            kind,
            name: name.into(),
            reason: reason.into(),
        }
    }
}

/// The lock file of [`crate::lock::SharedLock`], which stays when nobody holds it.
const STAYS: &str = "store";

/// Why something belongs to nobody.
const UNLOCKED: &str = "its process is dead";

impl Store {
    /// Returns what dead processes left in the store's own folders. Changes nothing.
    pub fn leaks(&self) -> Result<Vec<Leak>> {
        let mut leaks = Vec::new();
        for name in self.dead_locks()? {
            leaks.push(Leak::new(LeakKind::Lock, name, "nobody holds it"));
        }
        for id in self.dead_leases()? {
            leaks.push(Leak::new(LeakKind::Lease, id, UNLOCKED));
        }
        for (id, reason) in self.dead_snapshots()? {
            leaks.push(Leak::new(LeakKind::Snapshot, id.to_string(), reason));
        }
        for (name, reason) in self.stray_files()? {
            leaks.push(Leak::new(LeakKind::File, name, reason));
        }
        Ok(leaks)
    }

    /// Clears away what dead processes left in the store's own folders.
    pub fn tidy(&self) -> Result<()> {
        self.make_room()?;
        self.snapshots.sweep()?;
        for id in self.snapshots_without_container()? {
            self.snapshots.remove(SnapshotId(id))?;
        }
        for (name, _) in self.stray_files()? {
            self.clear_file(&name)?;
        }
        Ok(())
    }

    /// Removes the lock files of the dead: the sign that there is something to clear away, so this comes last.
    pub fn forget_deaths(&self) -> Result<()> {
        for name in self.dead_locks()? {
            // Dropping it takes the file away.
            drop(self.try_lock(&name)?);
        }
        Ok(())
    }

    /// Removes files that belong to nobody without a word to the database: on a full disk it could not be written before.
    fn make_room(&self) -> Result<()> {
        self.home.empty_trash();
        for (id, _) in self.dead_snapshots()? {
            self.discard(&self.snapshots.directory(id))?;
        }
        self.content.sweep_ingest()
    }

    /// Whether some process has died with a lock in its hand since the last [`Store::forget_deaths`]. Cheap: as many questions to the
    /// kernel as there are processes at work.
    pub fn had_deaths(&self) -> bool {
        let looks = || self.dead_locks().unwrap_or_default();
        let first = looks();
        if first.is_empty() {
            return false;
        }
        // One that is just being made is there before it is locked.
        std::thread::sleep(std::time::Duration::from_millis(1));
        let second = looks();
        first.iter().any(|name| second.contains(name))
    }

    fn dead_locks(&self) -> Result<Vec<String>> {
        let folder = self.run().join("locks");
        let mut names = names_in(&folder)?;
        names.retain(|name| name != STAYS && is_free(&folder.join(name)));
        Ok(names)
    }

    fn dead_leases(&self) -> Result<Vec<String>> {
        let own = self.home.own_lease().as_ref().map(|lease| lease.id.clone());
        let mut ids = self.texts("SELECT id FROM lease")?;
        let is_dead = |id: &String| {
            let path = self.home.lock_path(&lease::lock_name(id));
            !path.exists() || is_free(&path)
        };
        ids.retain(|id| Some(id) != own.as_ref() && is_dead(id));
        Ok(ids)
    }

    fn dead_snapshots(&self) -> Result<Vec<(SnapshotId, String)>> {
        let dead = self.dead_leases()?;
        let owned: Vec<(i64, Option<String>, String)> = self.home.db.read(|db| -> Result<_> {
            let query = "SELECT id, lease, kind FROM snapshot \
                         WHERE kind = 'removed' OR (kind = 'active' AND lease IS NOT NULL)";
            let rows = db
                .prepare(query)?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect::<Result<_, _>>()?;
            Ok(rows)
        })?;
        let alive = self.texts("SELECT id FROM lease")?;
        let is_dead = |lease: &Option<String>| {
            lease
                .as_ref()
                .is_none_or(|lease| dead.contains(lease) || !alive.contains(lease))
        };
        let owned = owned.into_iter().filter(|(_, lease, _)| is_dead(lease));
        let mut found: Vec<_> = owned
            .map(|(id, _, kind)| match kind.as_str() {
                "removed" => (SnapshotId(id), "half removed".to_owned()),
                _ => (SnapshotId(id), UNLOCKED.to_owned()),
            })
            .collect();
        for id in self.snapshots_without_container()? {
            found.push((SnapshotId(id), "its container is gone".to_owned()));
        }
        Ok(found)
    }

    fn snapshots_without_container(&self) -> Result<Vec<i64>> {
        self.home.db.read(|db| -> Result<_> {
            let query = "SELECT id FROM snapshot WHERE kind = 'active' AND lease IS NULL \
                         AND container IS NOT NULL AND container NOT IN (SELECT id FROM container)";
            let rows = db
                .prepare(query)?
                .query_map([], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            Ok(rows)
        })
    }

    /// Paths below the root of files that nobody will use, and why.
    fn stray_files(&self) -> Result<Vec<(String, String)>> {
        let mut found = Vec::new();
        let mut add = |folder: &str, name: &str, reason: &str| {
            found.push((format!("{folder}/{name}"), reason.to_owned()));
        };
        let root = self.root();
        // Folders before rows: what has its row now may have had no folder before.
        let folders = names_in(&root.join("snapshots"))?;
        let rows: Vec<i64> = self.home.db.read(|db| -> Result<_> {
            let mut statement = db.prepare("SELECT id FROM snapshot")?;
            let rows = statement.query_map([], |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })?;
        let rows: std::collections::HashSet<String> = rows.into_iter().map(base36).collect();
        for name in folders.iter().filter(|name| !rows.contains(*name)) {
            add("snapshots", name, "no such layer");
        }
        for name in names_in(&root.join("trash"))? {
            if is_free(&root.join("trash").join(&name)) {
                add("trash", &name, "half removed");
            }
        }
        for name in names_in(&root.join("content/ingest"))? {
            // One named by its digest is kept: whoever wants it goes on with it.
            if Digest::from_hex(&name).is_err() && is_free(&root.join("content/ingest").join(&name)) {
                add("content/ingest", &name, UNLOCKED);
            }
        }
        for name in names_in(&root.join("builds"))? {
            let path = self.home.lock_path(&format!("build-{name}"));
            if root.join("builds").join(&name).join("scratch").exists() && (!path.exists() || is_free(&path))
            {
                add("builds", &format!("{name}/scratch"), "its build is dead");
            }
        }
        Ok(found)
    }

    /// Removes what [`Store::stray_files`] has found, under the lock of whoever could be using it.
    fn clear_file(&self, name: &str) -> Result<()> {
        let path = self.root().join(name);
        match name.split('/').collect::<Vec<_>>()[..] {
            // The sweep has been there.
            ["trash" | "content", ..] => Ok(()),
            ["builds", id, ..] => match self.try_lock(&format!("build-{id}"))? {
                Some(_dead) => self.discard(&path),
                None => Ok(()),
            },
            _ => self.discard(&path),
        }
    }

    fn texts(&self, query: &str) -> Result<Vec<String>> {
        self.home.db.read(|db| -> Result<_> {
            let rows = db
                .prepare(query)?
                .query_map([], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            Ok(rows)
        })
    }
}

/// The names in a folder, which may be missing.
fn names_in(folder: &Utf8Path) -> Result<Vec<String>> {
    match folder.read_dir_utf8() {
        Ok(entries) => Ok(entries
            .flatten()
            .map(|entry| entry.file_name().to_owned())
            .collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).at("read", folder),
    }
}

/// Whether nobody holds a lock file (or a locked folder) that is there. Unlike [`crate::Lock::try_now`] it leaves the file alone.
fn is_free(path: &Utf8Path) -> bool {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let Ok(file) = rustix::fs::open(path.as_std_path(), flags, Mode::empty()) else {
        return false;
    };
    let file = std::fs::File::from(file);
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
        && lock::is_named(&file, path).unwrap_or(false)
}

/// Says that somebody is at it, for as long as the returned file is open: for folders that are being removed.
pub(crate) fn occupy(path: &Utf8Path) -> Option<std::fs::File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = std::fs::File::from(rustix::fs::open(path.as_std_path(), flags, Mode::empty()).ok()?);
    // Fails where somebody else removes it, too.
    let _ = rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared);
    Some(file)
}

impl crate::Snapshots {
    /// Whether a living process writes to a layer under a lease, as a build does.
    pub fn is_being_written(&self, id: SnapshotId) -> Result<bool> {
        let lease: Option<String> = self.home.db.read(|db| -> Result<_> {
            let query = "SELECT lease FROM snapshot WHERE id = ?1 AND kind = 'active' AND lease IS NOT NULL";
            let mut statement = db.prepare_cached(query)?;
            Ok(statement.query_row([id.0], |row| row.get(0)).optional()?)
        })?;
        let own = self.home.own_lease().as_ref().map(|lease| lease.id.clone());
        Ok(lease.is_some_and(|lease| {
            let path = self.home.lock_path(&lease::lock_name(&lease));
            Some(lease) == own || (path.exists() && !is_free(&path))
        }))
    }
}
