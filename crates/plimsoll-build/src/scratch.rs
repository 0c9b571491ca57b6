//! The folder of one build.
//!
//! ```text
//! builds/build-<pid>-<time>/
//!   scratch/    files of its steps; gone with the build
//!   log/        01.log, 02.log, …: what each RUN printed, its step in the first line
//! ```
//! A build that ran nothing leaves nothing. The logs of the last [`KEPT`] builds stay.

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicU32, Ordering};

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use plimsoll_store::{Lock, Store};

use crate::error::BuildError;

/// Builds whose logs are kept.
const KEPT: usize = 100;

/// A folder for the files of one build, gone with it; its logs stay. Its lock says that the build lives.
pub(crate) struct Scratch {
    pub(crate) id: String,
    pub(crate) folder: Utf8PathBuf,
    home: Utf8PathBuf,
    store: Store,
    _lock: Lock,
}

impl Scratch {
    pub(crate) fn new(store: &Store) -> Result<Self, BuildError> {
        sweep(store)?;
        let id = format!(
            "build-{}-{}",
            std::process::id(),
            Timestamp::now().as_nanosecond()
        );
        let lock = store.lock(&id)?;
        let home = store.root().join("builds").join(&id);
        let folder = home.join("scratch");
        std::fs::create_dir_all(&folder).map_err(BuildError::io("make folder", folder.as_std_path()))?;
        Ok(Self {
            id,
            folder,
            home,
            store: store.clone(),
            _lock: lock,
        })
    }

    pub(crate) fn logs(&self) -> Logs {
        Logs {
            folder: self.home.join("log"),
            next: AtomicU32::new(1),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = clear(&self.store, &self.home) {
            tracing::warn!(%error, folder = %self.home, "cannot remove the folder of a build");
        }
    }
}

/// Makes the log files of one build.
pub(crate) struct Logs {
    folder: Utf8PathBuf,
    next: AtomicU32,
}

impl Logs {
    /// The log of one more step.
    pub(crate) fn create(&self, step: &str) -> io::Result<(Utf8PathBuf, File)> {
        std::fs::create_dir_all(&self.folder)?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(format!("{number:02}.log"));
        let mut file = File::create(&path)?;
        writeln!(file, "# {step}")?;
        Ok((path, file))
    }
}

/// Removes what a build does not leave.
fn clear(store: &Store, home: &Utf8Path) -> plimsoll_store::Result<()> {
    match home.join("log").exists() {
        true => store.discard(&home.join("scratch")),
        false => store.discard(home),
    }
}

/// Removes what builds left that were killed, their files and their addresses, and old logs.
fn sweep(store: &Store) -> Result<(), BuildError> {
    let builds = store.root().join("builds");
    let entries = builds
        .read_dir_utf8()
        .map_err(BuildError::io("read", builds.as_std_path()))?;
    let mut ended = Vec::new();
    for entry in entries.flatten() {
        let id = entry.file_name();
        let Some(began) = id.strip_prefix("build-").and_then(|id| id.split_once('-')) else {
            continue;
        };
        if !entry.path().join("scratch").exists() {
            ended.push((began.1.parse::<i128>().unwrap_or(0), entry.into_path()));
        } else if let Some(_dead) = store.try_lock(id)? {
            store.db().write(|transaction| -> plimsoll_store::Result<_> {
                transaction.execute("DELETE FROM address WHERE container LIKE ?1 || '-%'", [id])?;
                Ok(())
            })?;
            clear(store, entry.path())?;
        }
    }
    ended.sort();
    let old = ended.len().saturating_sub(KEPT);
    for (_, home) in &ended[..old] {
        store.discard(home)?;
    }
    Ok(())
}
