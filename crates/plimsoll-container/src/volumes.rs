//! Volumes: `volumes/<name>/_data`, filled from the image the first time.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use camino::Utf8PathBuf;
use plimsoll_store::{Entry, MergedTree, Store};
use rusqlite::params;

use crate::{ContainerError, Result, names};

/// A volume in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeSummary {
    /// Its name.
    pub name: String,
    /// Made for one container, without a name given.
    pub anonymous: bool,
    /// How many containers have it.
    pub links: usize,
}

/// The volumes of a store.
pub(crate) struct Volumes<'a>(pub(crate) &'a Store);

impl Volumes<'_> {
    /// Finds or makes a volume for `container`; an empty one gets what `image` has at `target`. Returns its data's path.
    pub(crate) fn obtain(
        &self,
        name: &str,
        anonymous: bool,
        container: &str,
        image: Option<(&MergedTree, &Path)>,
    ) -> Result<Utf8PathBuf> {
        let _lock = self.0.lock(&format!("volume-{name}"))?;
        let home = self.0.root().join("volumes").join(name);
        let data = home.join("_data");
        if !data.exists() {
            fs::create_dir_all(&home).map_err(ContainerError::file("make", &home))?;
            // What a process that died half-way left is begun again.
            let half = home.join("_new");
            let _ = fs::remove_dir_all(&half);
            fs::create_dir(&half).map_err(ContainerError::file("make", &half))?;
            fill(image, half.as_std_path())?;
            fs::rename(&half, &data).map_err(ContainerError::file("make", &data))?;
        } else if is_empty(data.as_std_path()) {
            fill(image, data.as_std_path())?;
        }
        self.0.db().write(|transaction| -> Result<()> {
            transaction.execute(
                "INSERT INTO volume (name, created, anonymous) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                params![name, plimsoll_store::now(), anonymous],
            )?;
            transaction.execute(
                "INSERT INTO volume_use (volume, container) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                params![name, container],
            )?;
            Ok(())
        })?;
        Ok(data)
    }

    /// Makes up a name for a volume that has none.
    pub(crate) fn anonymous_name() -> Result<String> {
        names::random_id().map_err(ContainerError::file("read", "/dev/urandom"))
    }

    /// Lists the volumes, by name.
    pub(crate) fn list(&self) -> Result<Vec<VolumeSummary>> {
        self.0.db().read(|db| {
            let query = "SELECT name, anonymous, (SELECT count(*) FROM volume_use WHERE volume = name) \
                         FROM volume ORDER BY name";
            let mut statement = db.prepare_cached(query)?;
            let rows = statement.query_map([], |row| {
                Ok(VolumeSummary {
                    name: row.get(0)?,
                    anonymous: row.get(1)?,
                    links: row.get(2)?,
                })
            })?;
            Ok(rows.collect::<std::result::Result<_, _>>()?)
        })
    }

    /// Removes a volume that no container uses any more; returns whether it did.
    pub(crate) fn remove_unused(&self, name: &str) -> Result<bool> {
        let _lock = self.0.lock(&format!("volume-{name}"))?;
        let removed = self.0.db().write(|transaction| -> Result<usize> {
            Ok(transaction.execute(
                "DELETE FROM volume WHERE name = ?1 AND NOT EXISTS (SELECT 1 FROM volume_use WHERE volume = ?1)",
                [name],
            )?)
        })?;
        if removed > 0 {
            self.0.discard(&self.0.root().join("volumes").join(name))?;
        }
        Ok(removed > 0)
    }
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none())
}

fn fill(image: Option<(&MergedTree, &Path)>, into: &Path) -> Result<()> {
    let Some((tree, target)) = image else {
        return Ok(());
    };
    match tree.resolve(target)? {
        Some(entry) if entry.metadata.is_dir() => Copy {
            tree,
            links: HashMap::new(),
        }
        .directory(&entry, into),
        _ => Ok(()),
    }
}

/// Copies a directory of an image with owners, modes, times, attributes and hard links.
struct Copy<'a> {
    tree: &'a MergedTree,
    /// Files with several names, by device and inode, and where the first was put.
    links: HashMap<(u64, u64), PathBuf>,
}

impl Copy<'_> {
    fn directory(&mut self, from: &Entry, to: &Path) -> Result<()> {
        for name in self.tree.read_dir(from)? {
            if let Some(entry) = self.tree.child(from, &name)? {
                self.entry(&entry, &to.join(&name))?;
            }
        }
        dress(from, to).map_err(ContainerError::file("copy to", to))
    }

    fn entry(&mut self, from: &Entry, to: &Path) -> Result<()> {
        let file = || ContainerError::file("copy to", to);
        let kind = from.metadata.file_type();
        if kind.is_dir() {
            fs::create_dir(to).map_err(file())?;
            return self.directory(from, to);
        }
        let inode = (from.metadata.dev(), from.metadata.ino());
        if from.metadata.nlink() > 1
            && let Some(first) = self.links.get(&inode)
        {
            return fs::hard_link(first, to).map_err(file());
        }
        if kind.is_symlink() {
            fs::read_link(&from.host_path)
                .and_then(|target| std::os::unix::fs::symlink(target, to))
                .map_err(file())?;
        } else if kind.is_file() {
            fs::copy(&from.host_path, to).map_err(file())?;
        } else {
            special(from, to).map_err(file())?;
        }
        dress(from, to).map_err(file())?;
        if from.metadata.nlink() > 1 {
            self.links.insert(inode, to.to_owned());
        }
        Ok(())
    }
}

fn special(from: &Entry, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let mode = from.metadata.mode();
    Ok(mknodat(
        CWD,
        to,
        FileType::from_raw_mode(mode),
        Mode::from_raw_mode(mode),
        from.metadata.rdev(),
    )?)
}

/// Gives a copy the owner, mode, attributes and times of the original. The owner first: changing it clears set-id bits.
fn dress(from: &Entry, to: &Path) -> io::Result<()> {
    std::os::unix::fs::lchown(to, Some(from.metadata.uid()), Some(from.metadata.gid()))?;
    for (name, value) in from.xattrs().map_err(io::Error::other)? {
        rustix::fs::lsetxattr(to, name.as_os_str(), &value, rustix::fs::XattrFlags::empty())?;
    }
    if !from.metadata.is_symlink() {
        fs::set_permissions(to, fs::Permissions::from_mode(from.metadata.mode() & 0o7777))?;
    }
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: from.metadata.atime(),
            tv_nsec: from.metadata.atime_nsec(),
        },
        last_modification: Timespec {
            tv_sec: from.metadata.mtime(),
            tv_nsec: from.metadata.mtime_nsec(),
        },
    };
    Ok(utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}
