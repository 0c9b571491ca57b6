//! The folders of builds.
//!
//! ```text
//! builds/<id>/
//!   scratch/      files of its steps; gone with the build
//!   log/          what its tasks printed, see `record::journal`
//!   record.json   what became of it, see `record`
//! builds/lists/   what COPYs of these builds read, see `explain`
//! ```
//! A build has a row in the table `build` from its start. A folder without one belongs to a context that was unpacked,
//! or to nobody: its lock tells. The last [`KEPT`] builds stay.

use camino::{Utf8Path, Utf8PathBuf};
use plimsoll_store::{Lock, Store};

use crate::error::BuildError;
use crate::explain::lists;
use crate::record::{end_dead, remove_old};

/// Letters and digits of an id: 128 bits.
const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
const ID_LENGTH: usize = 25;

/// A folder for the files of one build, gone with it. Its lock says that the build lives.
pub(crate) struct Scratch {
    pub(crate) id: String,
    pub(crate) folder: Utf8PathBuf,
    /// What of it stays, if there is a row for it.
    pub(crate) home: Utf8PathBuf,
    store: Store,
    _lock: Lock,
}

impl Scratch {
    pub(crate) fn new(store: &Store) -> Result<Self, BuildError> {
        sweep(store)?;
        let id = new_id()?;
        let lock = store.lock(&lock_name(&id))?;
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
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let kept = self.home.join("record.json").exists();
        let gone = if kept { &self.folder } else { &self.home };
        if let Err(error) = self.store.discard(gone) {
            tracing::warn!(%error, folder = %self.home, "cannot remove the folder of a build");
        }
    }
}

/// The lock that says that a build lives.
pub(crate) fn lock_name(id: &str) -> String {
    format!("build-{id}")
}

/// As BuildKit's ids: 25 letters and digits.
fn new_id() -> Result<String, BuildError> {
    let mut bytes = [0; 16];
    let path = "/dev/urandom";
    std::fs::File::open(path)
        .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut bytes))
        .map_err(BuildError::io("read", path))?;
    let mut number = u128::from_le_bytes(bytes);
    let mut id = vec![b'0'; ID_LENGTH];
    for digit in id.iter_mut().rev() {
        *digit = DIGITS[(number % 36) as usize];
        number /= 36;
    }
    Ok(String::from_utf8(id).expect("digits are ASCII"))
}

/// Removes what builds left that were killed, their files and their addresses, and what is old.
fn sweep(store: &Store) -> Result<(), BuildError> {
    let builds = store.root().join("builds");
    let entries = builds
        .read_dir_utf8()
        .map_err(BuildError::io("read", builds.as_std_path()))?;
    // Folders before rows: one that has its row now had its folder before.
    let mut strays: Vec<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_owned())
        .filter(|name| name != lists::FOLDER)
        .collect();
    let rows = end_dead(store)?;
    strays.retain(|id| !rows.iter().any(|row| row == id));
    for id in strays {
        if let Some(_dead) = store.try_lock(&lock_name(&id))?
            && !crate::record::is_known(store, &id)?
        {
            free(store, &id)?;
            store.discard(&builds.join(&id))?;
        }
    }
    Ok(remove_old(store, &rows)?)
}

/// Gives back what a dead build had.
pub(crate) fn free(store: &Store, id: &str) -> plimsoll_store::Result<()> {
    store.db().write(|transaction| -> plimsoll_store::Result<_> {
        transaction.execute("DELETE FROM endpoint WHERE container LIKE ?1 || '-%'", [id])?;
        Ok(())
    })
}

/// Removes the scratch folder of a dead build.
pub(crate) fn clear(store: &Store, home: &Utf8Path) -> plimsoll_store::Result<()> {
    store.discard(&home.join("scratch"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_as_buildkits() {
        let id = new_id().unwrap();
        assert_eq!(id.len(), 25);
        assert!(id.bytes().all(|byte| DIGITS.contains(&byte)));
        assert_ne!(id, new_id().unwrap());
    }
}
