//! Archive and directory together.

mod hostile;
mod overlay;
mod pinned;
mod round_trip;
mod rules;

use std::path::{Path, PathBuf};

use crate::{Applied, LayerError};

/// An archive in the making.
pub(crate) struct Tar(tar::Builder<Vec<u8>>);

impl Tar {
    pub(crate) fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    /// Adds an entry, with its name and link written as they are, however wrong.
    pub(crate) fn entry(
        mut self,
        kind: tar::EntryType,
        path: &str,
        link: &str,
        content: &[u8],
        edit: impl FnOnce(&mut tar::Header),
    ) -> Self {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(if kind == tar::EntryType::Directory {
            0o755
        } else {
            0o644
        });
        header.set_uid(rustix::process::geteuid().as_raw().into());
        header.set_gid(rustix::process::getegid().as_raw().into());
        header.set_mtime(1_000_000);
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        edit(&mut header);
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    pub(crate) fn file(self, path: &str, content: &str) -> Self {
        self.entry(tar::EntryType::Regular, path, "", content.as_bytes(), |_| {})
    }

    pub(crate) fn directory(self, path: &str) -> Self {
        self.entry(tar::EntryType::Directory, path, "", b"", |_| {})
    }

    pub(crate) fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(tar::EntryType::Symlink, path, target, b"", |_| {})
    }

    pub(crate) fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(tar::EntryType::Link, path, target, b"", |_| {})
    }

    /// Puts pax records before the next entry.
    pub(crate) fn pax(mut self, records: &[(&str, &[u8])]) -> Self {
        self.0.append_pax_extensions(records.iter().copied()).unwrap();
        self
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

/// A layer directory that goes with the test, next to a file that nothing may touch.
pub(crate) struct Room {
    base: tempfile::TempDir,
}

impl Room {
    pub(crate) fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        std::fs::write(base.path().join("outside"), "untouched").unwrap();
        std::fs::create_dir(base.path().join("layer")).unwrap();
        Self { base }
    }

    pub(crate) fn base(&self) -> &Path {
        self.base.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.base.path().join("layer").join(name)
    }

    pub(crate) fn apply(&self, tar: &[u8]) -> Result<Applied, LayerError> {
        self.apply_on(tar, &[])
    }

    pub(crate) fn apply_on(&self, tar: &[u8], lowers: &[PathBuf]) -> Result<Applied, LayerError> {
        crate::apply(tar, &self.path(""), lowers)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn diff(&self) -> Vec<u8> {
        let mut tar = Vec::new();
        crate::diff(&self.path(""), &mut tar).unwrap();
        tar
    }

    /// Nothing but the layer and the file beside it is there, and that is as it was.
    pub(crate) fn assert_contained(&self) {
        let mut names: Vec<_> = self
            .base
            .path()
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["layer", "outside"]);
        assert_eq!(
            std::fs::read_to_string(self.base.path().join("outside")).unwrap(),
            "untouched"
        );
    }
}
