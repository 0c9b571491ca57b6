//! Leases: what a living process has in hand and gc must leave alone.
//!
//! A lease is a row plus a locked file. The file is locked before the row is there, and unlocked after the row has gone
//! or by the death of the process; so a row whose file can be locked belongs to nobody.

use std::sync::Arc;

use plimsoll_oci::Digest;
use rusqlite::params;

use crate::db::Db;
use crate::error::Result;
use crate::home::{Home, now, random_name};
use crate::lock::Lock;
use crate::snapshot::SnapshotId;

/// Protects from garbage collection, until dropped, everything made in the store since it began, and what is named.
pub struct Lease {
    home: Arc<Home>,
    own: Option<OwnLease>,
}

impl Lease {
    pub(crate) fn new(home: &Arc<Home>) -> Result<Self> {
        Ok(Self {
            home: Arc::clone(home),
            own: Some(OwnLease::begin(home)?),
        })
    }

    /// Protects a blob that may be older than the lease.
    pub fn keep_blob(&self, digest: &Digest) -> Result<()> {
        self.keep("blob", &digest.to_string())
    }

    /// Protects a snapshot, and with it its parents, that may be older than the lease.
    pub fn keep_snapshot(&self, snapshot: SnapshotId) -> Result<()> {
        self.keep("snapshot", &snapshot.0.to_string())
    }

    fn keep(&self, kind: &str, name: &str) -> Result<()> {
        let Some(own) = &self.own else { return Ok(()) };
        self.home.db.write(|tx| {
            tx.prepare_cached("INSERT OR IGNORE INTO lease_ref (lease, kind, name) VALUES (?1, ?2, ?3)")?
                .execute(params![own.id, kind, name])?;
            Ok(())
        })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(own) = self.own.take() {
            own.end(&self.home.db);
        }
    }
}

/// The row and the locked file.
pub(crate) struct OwnLease {
    pub(crate) id: String,
    /// Nothing that is older can be told from what others left.
    pub(crate) began: i64,
    _lock: Lock,
}

impl OwnLease {
    pub(crate) fn begin(home: &Home) -> Result<Self> {
        let id = random_name()?;
        let lock = home.lock(&lock_name(&id))?;
        let began = now();
        home.db.write(|tx| -> Result<()> {
            tx.prepare_cached("INSERT INTO lease (id, created) VALUES (?1, ?2)")?
                .execute(params![id, began])?;
            Ok(())
        })?;
        Ok(Self {
            id,
            began,
            _lock: lock,
        })
    }

    /// Failing leaves a dead lease, which the next sweep finds.
    pub(crate) fn end(self, db: &Db) {
        let ended = db.write(|tx| {
            tx.prepare_cached("DELETE FROM lease WHERE id = ?1")?
                .execute([&self.id])
        });
        if let Err(error) = ended {
            tracing::debug!(lease = self.id, %error, "a lease was left to the next sweep");
        }
    }
}

/// Ends the leases of dead processes, and with them their active snapshots, which become `removed`.
pub(crate) fn end_dead(home: &Home) -> Result<()> {
    let own = home.own_lease().as_ref().map(|lease| lease.id.clone());
    let all: Vec<String> = home.db.read(|db| -> Result<_> {
        Ok(db
            .prepare_cached("SELECT id FROM lease")?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?)
    })?;
    for id in all.into_iter().filter(|id| Some(id) != own.as_ref()) {
        let Some(_lock) = home.try_lock(&lock_name(&id))? else {
            continue;
        };
        home.db.write(|tx| -> Result<()> {
            tx.execute("DELETE FROM lease WHERE id = ?1", [&id])?;
            Ok(())
        })?;
    }
    home.db.write(|tx| -> Result<()> {
        let orphan = "kind = 'active' AND lease IS NOT NULL AND lease NOT IN (SELECT id FROM lease)";
        tx.execute(
            &format!("UPDATE snapshot SET kind = 'removed' WHERE {orphan}"),
            [],
        )?;
        Ok(())
    })
}

pub(crate) fn lock_name(id: &str) -> String {
    format!("lease-{id}")
}
