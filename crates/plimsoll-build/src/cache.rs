//! The solver's cache storage over the store's database.

use plimsoll_oci::{Digest, Hasher};
use plimsoll_solver::CacheStorage;
use plimsoll_store::{Lock, SnapshotId, Store, now};
use rusqlite::{OptionalExtension as _, Transaction, params};

use crate::error::OpError;
use crate::op::{BuildOp, Output, blocking};

/// Records of what operations came to. A record goes when its snapshot goes.
pub(crate) struct BuildCache {
    pub(crate) store: Store,
}

impl CacheStorage<BuildOp> for BuildCache {
    type Lock = Lock;

    fn find(&self, key: Digest) -> Result<Option<Output>, OpError> {
        let found = self
            .store
            .db()
            .read(|connection| -> plimsoll_store::Result<_> { Ok(find(connection, key)?) });
        Ok(found?)
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

    async fn lock(&self, key: Digest) -> Result<Lock, OpError> {
        let name = format!("build-key-{}", key.hex());
        if let Some(lock) = self.store.try_lock(&name)? {
            return Ok(lock);
        }
        let store = self.store.clone();
        blocking(move || Ok(store.lock(&name)?)).await
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
