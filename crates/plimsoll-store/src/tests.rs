//! Tests of the parts, and of many processes at one store.

mod content;
mod database;
mod gc;
mod processes;
mod rooms;
mod snapshots;
mod tree;

use camino::{Utf8Path, Utf8PathBuf};

use crate::Store;

/// A store that goes with the test.
pub(crate) struct Ground {
    base: tempfile::TempDir,
}

impl Ground {
    pub(crate) fn new() -> Self {
        Self {
            base: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.base.path()).unwrap().join(name)
    }

    pub(crate) fn try_open(&self) -> crate::Result<Store> {
        Store::open(&self.path("root"), &self.path("run"))
    }

    pub(crate) fn open(&self) -> Store {
        self.try_open().unwrap()
    }
}

/// Names in a directory of a store, sorted.
pub(crate) fn names(directory: impl AsRef<std::path::Path>) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A layer archive of plain files.
pub(crate) fn layer(files: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_uid(rustix::process::geteuid().as_raw().into());
        header.set_gid(rustix::process::getegid().as_raw().into());
        header.set_mtime(1_000_000);
        tar.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap()
}

/// A number from the database.
pub(crate) fn count(store: &Store, query: &str) -> i64 {
    store
        .db()
        .read(|db| db.query_row(query, [], |row| row.get(0)))
        .unwrap()
}
