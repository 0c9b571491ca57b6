//! Everything on disk: one state directory shared by many processes, without a daemon.
//!
//! ```text
//! root/
//!   layout-version               the layout, and a random 32-bit instance id; written last when a store is made
//!   meta.db                      SQLite, WAL: the only index; schema/1.sql says what is in it
//!   content/oci-layout
//!   content/blobs/sha256/<hex>   never changed
//!   content/ingest/<id>          blobs being written; named by its digest, one can be continued
//!   snapshots/<n>/{fs,work}      layers as overlayfs has them
//!   contexts/ builds/ cache-mounts/ volumes/ containers/   other rooms' files
//!   events/                      what happened, see [`EventLog`]
//!   trash/                       deletion is a rename into here, then slow removal
//! run/                           tmpfs where it can be; cleared when `boot-id` is of another boot
//!   containers/  netns/  locks/  filters/
//! ```
//!
//! Invariants, whatever moment a process is killed at:
//! - a blob's or snapshot's row is there only when its files are complete; files go only after the row says so;
//! - everything half done has an owner whose death can be seen: a locked lease file, a locked ingest file;
//! - no lock outlives its process, no pid is trusted.
//!
//! Lock order is in [`lock`](Lock), the database's rules in [`Db`], durability of snapshots in [`Snapshots`], what may
//! be collected in the module `gc`.
//! Making a store creates every directory at once; opening one reads three small files and asks what file
//! system it is on (65 µs).

mod content;
mod db;
mod error;
mod events;
mod gc;
mod home;
mod leaks;
mod lease;
mod lock;
mod snapshot;
#[cfg(test)]
mod tests;
mod trash;
mod tree;

use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

pub use content::{ContentStore, Ingest};
pub use db::Db;
pub use error::{Result, StoreError};
pub use events::{EventLog, EventReader, StoreEvent};
pub use gc::{CacheItem, CacheKind, DiskUsage, ImageNeeds, ImageUsage, Meter, PruneRequest};
pub use home::now;
pub use leaks::{Leak, LeakKind};
pub use lease::Lease;
pub use lock::Lock;
pub use snapshot::{ActiveSnapshot, LayerInfo, SnapshotId, Snapshots, chain_id};
pub use tree::{Entry, MergedTree};

use home::Home;

/// One state directory. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    home: Arc<Home>,
    content: ContentStore,
    snapshots: Snapshots,
}

impl Store {
    /// Opens or makes the store. `root`: state; `run`: run-time folder.
    ///
    /// The database is opened when first used.
    pub fn open(root: &Utf8Path, run: &Utf8Path) -> Result<Self> {
        let home = Arc::new(Home::open(root, run)?);
        let content = ContentStore {
            home: Arc::clone(&home),
        };
        let snapshots = Snapshots {
            home: Arc::clone(&home),
            swept: Arc::default(),
        };
        Ok(Self {
            home,
            content,
            snapshots,
        })
    }

    /// Returns the state directory.
    pub fn root(&self) -> &Utf8Path {
        &self.home.root
    }

    /// Returns the run-time directory, which is empty after a boot.
    pub fn run(&self) -> &Utf8Path {
        &self.home.run
    }

    /// Returns a random number made with the store; it names bridges, cgroups and tables.
    pub fn instance(&self) -> u32 {
        self.home.instance
    }

    /// Returns the blobs.
    pub fn content(&self) -> &ContentStore {
        &self.content
    }

    /// Returns the snapshots.
    pub fn snapshots(&self) -> &Snapshots {
        &self.snapshots
    }

    /// Returns the database.
    pub fn db(&self) -> &Db {
        &self.home.db
    }

    /// Returns what happened, and where to say so.
    pub fn events(&self) -> EventLog {
        EventLog::of(self.root())
    }

    /// Takes the lock `name`, waiting for it; released on drop. Blocks also against this same process.
    pub fn lock(&self, name: &str) -> Result<Lock> {
        self.home.lock(name)
    }

    /// Takes the lock `name`, or returns none when it is held.
    pub fn try_lock(&self, name: &str) -> Result<Option<Lock>> {
        self.home.try_lock(name)
    }

    /// Returns the process id that the holder of a lock wrote into it. For messages only.
    pub fn lock_holder(&self, name: &str) -> Option<u32> {
        lock::holder(&self.home.lock_path(name))
    }

    /// Begins a lease: see [`Lease`].
    pub fn lease(&self) -> Result<Lease> {
        Lease::new(&self.home)
    }

    /// Makes sure that this process has a lease, which lasts as long as the process has the store open, and returns when
    /// it began. From then on everything made, and everything found through the cache, stays.
    pub fn protect(&self) -> Result<i64> {
        self.home.protect()
    }

    /// Ends the lease of this process early, for one that has nothing in hand any more but goes on for long. Snapshots it
    /// is still writing to would be swept.
    pub fn release(&self) {
        let lease = self.home.own_lease().take();
        if let Some(lease) = lease {
            lease.end(&self.home.db);
        }
    }

    /// Moves a path of the store into the trash and removes it. Fine when there is nothing.
    pub fn discard(&self, path: &Utf8Path) -> Result<()> {
        self.home.discard(path)
    }

    /// Removes the whole store. Containers, mounts and networks must have gone before, and nobody else may be using it.
    pub fn remove(self) -> Result<()> {
        self.home.remove()
    }

    /// Writes everything back to disk, so that it survives a loss of power. Nothing depends on it but
    /// how much has to be made again then: see [`Snapshots`].
    pub fn sync(&self) -> Result<()> {
        self.snapshots.sync()
    }
}

/// Where root's state is unless somebody says otherwise.
pub fn default_root() -> Utf8PathBuf {
    "/var/lib/plimsoll".into()
}
