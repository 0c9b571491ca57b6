//! The metadata database: SQLite with many processes writing.
//!
//! The rules, measured in ARCHITECTURE section 4:
//! - write-ahead log, `synchronous=NORMAL`: a crash of the machine may lose the last transactions, never tear one;
//! - no checkpoint on close, which would cost every short command a millisecond; SQLite still checkpoints by size;
//! - every write transaction opens with `BEGIN IMMEDIATE`: plain `BEGIN` fails busy when two processes read, then write;
//! - no transaction spans I/O or a child; a row appears only after its files are there;
//! - the connection is opened on first use, once per process, close-on-exec, and never carried across a fork.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, ffi};

use crate::lock::Lock;

/// Append-only: entry `n` takes `user_version` from `n` to `n + 1`.
const MIGRATIONS: &[&str] = &[
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
];

/// Longest wait for another process's write transaction; they are short, so this is for a machine that stands still.
const PATIENCE: Duration = Duration::from_secs(60);

/// SQLite: WAL, `BEGIN IMMEDIATE` for writes. Opened lazily; may be used from several threads, one at a time.
///
/// The closures must not call [`Db::read`] or [`Db::write`] again: the connection is taken.
pub struct Db {
    path: Utf8PathBuf,
    migration_lock: Utf8PathBuf,
    connection: Mutex<Option<Connection>>,
}

impl Db {
    pub(crate) fn new(path: Utf8PathBuf, migration_lock: Utf8PathBuf) -> Self {
        Self {
            path,
            migration_lock,
            connection: Mutex::new(None),
        }
    }

    /// Reads: all statements of `work` see one state of the database.
    pub fn read<T, E: From<rusqlite::Error>>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut guard = self.connection();
        let transaction =
            opened(&mut guard, self)?.transaction_with_behavior(TransactionBehavior::Deferred)?;
        work(&transaction)
    }

    /// One short write transaction; rolled back on error.
    pub fn write<T, E: From<rusqlite::Error>>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut guard = self.connection();
        let transaction =
            opened(&mut guard, self)?.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let value = work(&transaction)?;
        transaction.commit()?;
        Ok(value)
    }

    /// A panic in a closure has rolled its transaction back, so the connection is as good as before.
    fn connection(&self) -> MutexGuard<'_, Option<Connection>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn opened<'a>(slot: &'a mut Option<Connection>, db: &Db) -> rusqlite::Result<&'a mut Connection> {
    if slot.is_none() {
        *slot = Some(open(&db.path, &db.migration_lock)?);
    }
    Ok(slot.as_mut().expect("filled above"))
}

fn open(path: &Utf8Path, migration_lock: &Utf8Path) -> rusqlite::Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.execute_batch("PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;")?;
    let version = user_version(&connection)?;
    if version < MIGRATIONS.len() {
        migrate(&mut connection, migration_lock)?;
    } else if version > MIGRATIONS.len() {
        return Err(from_the_future(path, version));
    }
    Ok(connection)
}

/// Under a lock file, because changing the journal mode ignores the busy time-out.
fn migrate(connection: &mut Connection, lock: &Utf8Path) -> rusqlite::Result<()> {
    let _lock = Lock::wait(lock).map_err(|error| failure(ffi::SQLITE_CANTOPEN, error.to_string()))?;
    if user_version(connection)? == 0 {
        connection.query_row("PRAGMA journal_mode=WAL", [], |_| Ok(()))?;
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for (from, script) in MIGRATIONS.iter().enumerate().skip(user_version(&transaction)?) {
        transaction.execute_batch(script)?;
        transaction.pragma_update(None, "user_version", from + 1)?;
    }
    transaction.commit()
}

fn user_version(connection: &Connection) -> rusqlite::Result<usize> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

fn from_the_future(path: &Utf8Path, found: usize) -> rusqlite::Error {
    let known = MIGRATIONS.len();
    failure(
        ffi::SQLITE_SCHEMA,
        format!("`{path}` has version {found}, this version of plimsoll knows versions up to {known}"),
    )
}

fn failure(code: i32, text: String) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some(text))
}
