//! The solver's cache storage over the store's database.

use std::sync::Arc;
use std::time::Duration;

use plimsoll_image::Images;
use plimsoll_oci::{Digest, Hasher};
use plimsoll_progress::Progress;
use plimsoll_solver::CacheStorage;
use plimsoll_store::{Lock, SnapshotId, Store, StoreError, now};
use rusqlite::{OptionalExtension as _, Transaction, params};

use crate::error::OpError;
use crate::op::{BuildOp, Output};
use crate::remote_cache::{Here, Imported};

/// How often a lock that another process holds is asked for.
const LOCK_POLL: Duration = Duration::from_millis(20);

/// Records of what operations came to. A record goes when its snapshot goes.
pub(crate) struct BuildCache {
    pub(crate) store: Store,
    pub(crate) images: Images,
    /// Asked for what is not recorded here.
    pub(crate) imported: Arc<Imported>,
    pub(crate) progress: Progress,
}

impl BuildCache {
    /// What is found is marked as used in the transaction that finds it, and so protected by this process's lease; once
    /// per build is enough.
    pub(crate) fn find_here(&self, key: Digest) -> Result<Option<Output>, StoreError> {
        let lease = self.store.protect()?;
        let known = self.store.db().read(|connection| -> plimsoll_store::Result<_> {
            Ok(match find(connection, key)? {
                Some(output) => Some((output, last_used(connection, key)? >= lease)),
                None => None,
            })
        })?;
        match known {
            None => Ok(None),
            Some((output, true)) => Ok(Some(output)),
            Some((_, false)) => self.store.db().write(|transaction| {
                touch(transaction, key)?;
                Ok(find(transaction, key)?)
            }),
        }
    }

    /// Brings what another machine came to, and records it as if it had been made here.
    async fn bring(&self, key: Digest) -> Result<Option<Output>, OpError> {
        let here = Here {
            store: &self.store,
            images: &self.images,
            progress: &self.progress,
        };
        let Some(brought) = self.imported.bring(&key, &here).await else {
            return Ok(None);
        };
        let output = Output {
            snapshot: brought.snapshot,
            content: brought.content,
        };
        self.store
            .db()
            .write(|transaction| -> plimsoll_store::Result<_> {
                for key in brought.keys.iter().chain([&key]) {
                    insert(transaction, *key, &output, &brought.description)?;
                }
                Ok(())
            })?;
        Ok(Some(output))
    }
}

impl CacheStorage<BuildOp> for BuildCache {
    type Lock = Lock;

    async fn find(&self, key: Digest) -> Result<Option<Output>, OpError> {
        match self.find_here(key)? {
            None => self.bring(key).await,
            found => Ok(found),
        }
    }

    /// An output whose content was there before is replaced by the earlier one, and its own files are removed.
    fn record(
        &self,
        keys: [Digest; 2],
        output: Output,
        description: &str,
        replace: bool,
    ) -> Result<Output, OpError> {
        let output_key = output_key(&output);
        let recorded = self
            .store
            .db()
            .write(|transaction| -> plimsoll_store::Result<_> {
                let earlier = if replace {
                    None
                } else {
                    find(transaction, output_key)?
                };
                let kept = earlier.unwrap_or_else(|| output.clone());
                for key in keys.iter().chain([&output_key]) {
                    insert(transaction, *key, &kept, description)?;
                }
                Ok(kept)
            })?;
        if recorded.snapshot != output.snapshot {
            self.store.snapshots().remove(output.snapshot)?;
        }
        Ok(recorded)
    }

    /// Asks again and again rather than blocks: a wait that is given up must not hold a thread.
    async fn lock(&self, key: Digest, waiting: &(dyn Fn(&str) + Sync)) -> Result<Lock, OpError> {
        let name = format!("build-key-{}", key.hex());
        let mut told = false;
        loop {
            if let Some(lock) = self.store.try_lock(&name)? {
                return Ok(lock);
            }
            if !std::mem::replace(&mut told, true) {
                let holder = self
                    .store
                    .lock_holder(&name)
                    .map_or_else(String::new, |pid| format!(", process {pid}"));
                waiting(&format!(
                    "waiting for another build{holder}, which runs this step\n"
                ));
            }
            tokio::time::sleep(LOCK_POLL).await;
        }
    }
}

/// The key under which an output is found by what it holds.
fn output_key(output: &Output) -> Digest {
    let mut hasher = Hasher::new();
    hasher.field("output");
    hasher.field(output.content.as_bytes());
    hasher.finish()
}

fn find(connection: &rusqlite::Connection, key: Digest) -> rusqlite::Result<Option<Output>> {
    let sql = "SELECT r.snapshot, r.content_key FROM cache_record r JOIN snapshot s ON s.id = r.snapshot \
               WHERE r.key = ?1 AND s.kind = 'committed'";
    let row = connection
        .prepare_cached(sql)?
        .query_row([key.to_string()], |row| {
            Ok((row.get(0)?, row.get::<_, String>(1)?))
        });
    let Some((snapshot, content)) = row.optional()? else {
        return Ok(None);
    };
    Ok(content.parse().ok().map(|content| Output {
        snapshot: SnapshotId(snapshot),
        content,
    }))
}

/// Returns every key under which an output is recorded.
pub(crate) fn keys_of(store: &Store, output: &Output) -> Result<Vec<Digest>, StoreError> {
    store.db().read(|connection| {
        let mut keys = connection
            .prepare_cached("SELECT key FROM cache_record WHERE snapshot = ?1 AND content_key = ?2")?;
        let keys = keys.query_map(params![output.snapshot.0, output.content.to_string()], |row| {
            row.get::<_, String>(0)
        })?;
        let keys: Vec<String> = keys.collect::<rusqlite::Result<_>>()?;
        Ok(keys.iter().filter_map(|key| key.parse().ok()).collect())
    })
}

fn last_used(connection: &rusqlite::Connection, key: Digest) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("SELECT last_used FROM cache_record WHERE key = ?1")?
        .query_row([key.to_string()], |row| row.get(0))
}

fn touch(transaction: &Transaction<'_>, key: Digest) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE cache_record SET last_used = ?2 WHERE key = ?1")?
        .execute(params![key.to_string(), now()])
        .map(drop)
}

/// Tells whether a snapshot is the result of a recorded step. One whose files a loss of power may have torn is not.
pub(crate) fn is_recorded(store: &Store, snapshot: SnapshotId) -> bool {
    let sql = "SELECT 1 FROM cache_record r JOIN snapshot s ON s.id = r.snapshot \
               WHERE r.snapshot = ?1 AND s.kind = 'committed'";
    let found = store.db().read(|connection| -> plimsoll_store::Result<_> {
        Ok(connection.prepare_cached(sql)?.exists([snapshot.0])?)
    });
    found.unwrap_or(false)
}

fn insert(
    transaction: &Transaction<'_>,
    key: Digest,
    output: &Output,
    description: &str,
) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO cache_record (key, snapshot, content_key, created, last_used, description) \
               VALUES (?1, ?2, ?3, ?4, ?4, ?5)";
    let values = params![
        key.to_string(),
        output.snapshot.0,
        output.content.to_string(),
        now(),
        description
    ];
    transaction.prepare_cached(sql)?.execute(values).map(drop)
}
