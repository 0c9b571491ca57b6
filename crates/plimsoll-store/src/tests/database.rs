//! Transactions.

use super::{Ground, count};
use crate::StoreError;

fn insert(tx: &rusqlite::Transaction<'_>, name: &str) -> rusqlite::Result<usize> {
    tx.execute("INSERT INTO volume (name, created) VALUES (?1, 0)", [name])
}

#[test]
fn a_failed_write_leaves_nothing() {
    let ground = Ground::new();
    let store = ground.open();
    let result: Result<(), StoreError> = store.db().write(|tx| {
        insert(tx, "a")?;
        Err(StoreError::SnapshotInUse {
            snapshot: crate::SnapshotId(1),
        })
    });
    assert!(result.is_err());
    assert_eq!(count(&store, "SELECT count(*) FROM volume"), 0);
}

#[test]
fn a_panic_leaves_nothing_and_the_next_may_go_on() {
    let ground = Ground::new();
    let store = ground.open();
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        store.db().write(|tx| -> rusqlite::Result<()> {
            insert(tx, "a")?;
            panic!("in a transaction");
        })
    }));
    assert!(panic.is_err());
    store.db().write(|tx| insert(tx, "b")).unwrap();
    assert_eq!(count(&store, "SELECT count(*) FROM volume"), 1);
}

#[test]
fn a_read_sees_one_state() {
    let ground = Ground::new();
    let (reader, writer) = (ground.open(), ground.open());
    let query = "SELECT count(*) FROM volume";
    let (before, after): (i64, i64) = reader
        .db()
        .read(|db| -> rusqlite::Result<_> {
            let before = db.query_row(query, [], |row| row.get(0))?;
            writer.db().write(|tx| insert(tx, "a")).unwrap();
            Ok((before, db.query_row(query, [], |row| row.get(0))?))
        })
        .unwrap();
    assert_eq!((before, after, count(&reader, query)), (0, 0, 1));
}

#[test]
fn the_pragmas_hold() {
    let ground = Ground::new();
    let store = ground.open();
    let mode: String = store
        .db()
        .read(|db| db.query_row("PRAGMA journal_mode", [], |row| row.get(0)))
        .unwrap();
    assert_eq!(mode, "wal");
    assert_eq!(count(&store, "PRAGMA synchronous"), 1);
    assert_eq!(count(&store, "PRAGMA foreign_keys"), 1);
    store.db().write(|tx| insert(tx, "a")).unwrap();
    drop(store);
    assert!(ground.path("root/meta.db-wal").exists(), "no checkpoint on close");
}
