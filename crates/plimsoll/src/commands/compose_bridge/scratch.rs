//! A folder in the making, beside the place that it is to have.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use camino::Utf8Path;
use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

/// Begins the names of such folders, and of nothing else.
const PREFIX: &str = ".plimsoll-bridge-";

/// Goes with whoever makes it, unless it was put in its place. Where that one is killed, the next takes it away.
pub(super) struct Scratch {
    folder: TempDir,
    /// Locked: somebody is at it.
    _held: File,
}

impl Scratch {
    /// Makes one in `parent`, and takes away what the dead left there.
    pub(super) fn new(parent: &Utf8Path) -> io::Result<Self> {
        sweep(parent);
        loop {
            let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
            let held = File::open(folder.path())?;
            // Somebody may have swept it before it was locked.
            if flock(&held, FlockOperation::NonBlockingLockExclusive).is_ok() && folder.path().exists() {
                return Ok(Self { folder, _held: held });
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Lets it stay, and says where it was.
    pub(super) fn keep(self) -> PathBuf {
        self.folder.keep()
    }
}

fn sweep(parent: &Utf8Path) {
    let entries = parent.read_dir_utf8().into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().starts_with(PREFIX)) {
        // What cannot be taken away, as another user's, is in nobody's way.
        if let Ok(folder) = File::open(entry.path())
            && flock(&folder, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_behind_goes_and_what_is_in_work_stays() {
        let parent = tempfile::tempdir().unwrap();
        let parent = Utf8Path::from_path(parent.path()).unwrap();
        let left = parent.join(format!("{PREFIX}abc123/deep"));
        std::fs::create_dir_all(&left).unwrap();
        std::fs::create_dir(parent.join("out")).unwrap();
        let first = Scratch::new(parent).unwrap();
        assert!(!left.exists() && parent.join("out").exists());
        let second = Scratch::new(parent).unwrap();
        assert!(first.path().exists() && second.path().exists());
        drop(first);
        assert_eq!(parent.read_dir().unwrap().count(), 2);
    }
}
