//! Removal: first out of the way, by one rename, then slowly; and never across a mount.
//!
//! A crash may leave something mounted below a directory of the store, someone's own folder by a bind mount. Removal
//! stops there with an error instead of going on inside.

use std::io;

use camino::Utf8Path;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::{At, Result, StoreError};
use crate::home::{Home, random_name};

impl Home {
    /// Moves `path` into the trash, where it no longer is what it was, then removes it. Nothing there is fine.
    pub(crate) fn discard(&self, path: &Utf8Path) -> Result<()> {
        let upward = path.components().any(|component| component.as_str() == "..");
        if !path.starts_with(&self.root) || path == self.root || upward {
            return Err(StoreError::OutsideStore {
                path: path.to_owned(),
                root: self.root.clone(),
            });
        }
        let grave = self.root.join("trash").join(random_name()?);
        match std::fs::rename(path, &grave) {
            Ok(()) => {
                let _occupied = crate::leaks::occupy(&grave);
                remove_all(&grave)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error).at("move to the trash", path),
        }
    }

    /// Removes what processes that died left in the trash. Somebody else may be at it as well.
    pub(crate) fn empty_trash(&self) {
        let Ok(graves) = self.root.join("trash").read_dir_utf8() else {
            return;
        };
        for grave in graves.flatten() {
            if let Err(error) = remove_all(grave.path()) {
                tracing::debug!(path = %grave.path(), %error, "left in the trash");
            }
        }
    }
}

/// Removes a file or a whole directory, following no link and crossing into no mount; fine when it is gone.
pub(crate) fn remove_all(path: &Utf8Path) -> Result<()> {
    remove(CWD, path.as_str().as_bytes()).at("remove", path)
}

fn remove(directory: impl AsFd, name: &[u8]) -> rustix::io::Result<()> {
    match unless_gone(rustix::fs::unlinkat(&directory, name, AtFlags::empty())) {
        Err(Errno::ISDIR) => {}
        result => return result,
    }
    let inside = match open(&directory, name) {
        Err(Errno::NOENT) => return Ok(()),
        result => result?,
    };
    for child in names(&inside)? {
        remove(&inside, &child)?;
    }
    unless_gone(rustix::fs::unlinkat(&directory, name, AtFlags::REMOVEDIR))
}

/// Opens a directory, unless something is mounted on it (`EXDEV`). Only the last component of a path given to
/// [`remove_all`] may be a mount; those before it are where the store is.
fn open(directory: impl AsFd, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Some(slash) = name.iter().rposition(|byte| *byte == b'/') else {
        return rustix::fs::openat2(directory, name, flags, Mode::empty(), ResolveFlags::NO_XDEV);
    };
    let above = rustix::fs::openat(
        directory,
        &name[..=slash],
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    rustix::fs::openat2(
        above,
        &name[slash + 1..],
        flags,
        Mode::empty(),
        ResolveFlags::NO_XDEV,
    )
}

/// The names in a directory that may be disappearing.
fn names(directory: &OwnedFd) -> rustix::io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    let entries = match rustix::fs::Dir::read_from(directory) {
        Err(Errno::NOENT) => return Ok(names),
        result => result?,
    };
    for entry in entries {
        match entry {
            Err(Errno::NOENT) => break,
            Ok(entry) if matches!(entry.file_name().to_bytes(), b"." | b"..") => {}
            entry => names.push(entry?.file_name().to_bytes().to_vec()),
        }
    }
    Ok(names)
}

fn unless_gone(result: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn base() -> (tempfile::TempDir, camino::Utf8PathBuf) {
        let base = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(base.path()).unwrap().to_owned();
        (base, path)
    }

    #[test]
    fn removes_trees_and_no_targets_of_links() {
        let (_base, path) = base();
        fs::create_dir_all(path.join("tree/a/b")).unwrap();
        fs::write(path.join("kept"), "").unwrap();
        std::os::unix::fs::symlink("../../kept", path.join("tree/a/link")).unwrap();
        std::os::unix::fs::symlink("..", path.join("tree/up")).unwrap();
        remove_all(&path.join("tree")).unwrap();
        remove_all(&path.join("tree")).unwrap();
        assert!(!path.join("tree").exists() && path.join("kept").exists());
        remove_all(&path.join("kept")).unwrap();
        assert!(!path.join("kept").exists());
    }

    #[test]
    fn two_may_remove_the_same() {
        let (_base, path) = base();
        for number in 0..2000 {
            fs::create_dir_all(path.join(format!("tree/{}/{number}/x", number % 7))).unwrap();
        }
        let tree = path.join("tree");
        std::thread::scope(|scope| {
            let removals: Vec<_> = (0..3).map(|_| scope.spawn(|| remove_all(&tree))).collect();
            removals
                .into_iter()
                .for_each(|removal| removal.join().unwrap().unwrap());
        });
        assert!(!tree.exists());
    }

    #[test]
    fn what_is_mounted_is_left_alone() {
        plimsoll_testkit::needs!(root);
        let (_base, path) = base();
        fs::create_dir_all(path.join("tree/rootfs/mnt")).unwrap();
        fs::create_dir(path.join("home")).unwrap();
        fs::write(path.join("home/precious"), "").unwrap();
        let run = || {
            use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_bind, mount_change, unmount};
            plimsoll_linux::unshare(plimsoll_linux::UnshareFlags::NEWNS).unwrap();
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
            let target = path.join("tree/rootfs/mnt");
            mount_bind(path.join("home").as_str(), target.as_str()).unwrap();
            let removals = [remove_all(&path.join("tree")), remove_all(&target)];
            unmount(target.as_str(), UnmountFlags::empty()).unwrap();
            assert!(removals.iter().all(Result::is_err), "{removals:?}");
        };
        std::thread::scope(|scope| scope.spawn(run).join().unwrap());
        assert!(path.join("home/precious").exists());
        remove_all(&path.join("tree")).unwrap();
    }
}
