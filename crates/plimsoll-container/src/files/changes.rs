//! What a container has changed in its root: its own layer, read beside those below.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use plimsoll_store::{Entry, MergedTree};
use rustix::io::Errno;

use crate::containers::{Container, Containers};
use crate::{ContainerError, Result};

/// What the runtime puts into a root to mount on, where the image has nothing. Nobody's change.
const MOUNT_POINTS: [&str; 9] = [
    "/dev",
    "/dev/pts",
    "/dev/shm",
    "/dev/mqueue",
    "/proc",
    "/sys",
    "/etc/hosts",
    "/etc/hostname",
    "/etc/resolv.conf",
];

/// One line of `diff`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What happened.
    pub kind: ChangeKind,
    /// Absolute.
    pub path: PathBuf,
}

/// The letter of a [`Change`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// `A`
    Added,
    /// `C`
    Changed,
    /// `D`
    Deleted,
}

impl Containers {
    /// Returns what a container has changed in its root, folders before what is in them.
    pub fn changes(&self, container: &Container) -> Result<Vec<Change>> {
        let (own, lowers) = self.layers(container)?;
        Ok(Survey::of(own.path(), &lowers)?.changes)
    }
}

/// Takes out of a layer what the runtime made to mount on, and the copies of folders it was made in.
pub(super) fn remove_mount_points(upper: &Path, lowers: &[PathBuf]) -> Result<()> {
    for path in Survey::of(upper, lowers)?.nothing {
        let removed = match path.is_dir() {
            true => fs::remove_dir(&path),
            false => fs::remove_file(&path),
        };
        removed.map_err(ContainerError::file("remove", path))?;
    }
    Ok(())
}

#[derive(Default)]
struct Survey {
    changes: Vec<Change>,
    /// Files of the layer that change nothing, by their place on the host; folders after what is in them.
    nothing: Vec<PathBuf>,
}

impl Survey {
    fn of(upper: &Path, lowers: &[PathBuf]) -> Result<Self> {
        let below = MergedTree::new(lowers.to_vec());
        let root = match lowers {
            [] => None,
            _ => Some(below.root()?),
        };
        let mut survey = Self::default();
        survey.directory(upper, Path::new("/"), &below, root.as_ref())?;
        Ok(survey)
    }

    fn directory(
        &mut self,
        upper: &Path,
        path: &Path,
        below: &MergedTree,
        original: Option<&Entry>,
    ) -> Result<()> {
        let names = sorted(upper)?;
        for name in &names {
            let original = original
                .map(|entry| below.child(entry, name))
                .transpose()?
                .flatten();
            self.entry(&upper.join(name), &path.join(name), below, original.as_ref())?;
        }
        let Some(original) = original else {
            return Ok(());
        };
        if plimsoll_layer::is_opaque(upper).map_err(ContainerError::file("examine", upper))? {
            let gone = below
                .read_dir(original)?
                .into_iter()
                .filter(|name| names.binary_search(name).is_err());
            for name in gone {
                self.add(ChangeKind::Deleted, &path.join(name));
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        upper: &Path,
        path: &Path,
        below: &MergedTree,
        original: Option<&Entry>,
    ) -> Result<()> {
        let metadata = match fs::symlink_metadata(upper) {
            // A running container removed it meanwhile.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            result => result.map_err(ContainerError::file("examine", upper))?,
        };
        if metadata.file_type().is_char_device() && metadata.rdev() == 0 {
            if original.is_some() {
                self.add(ChangeKind::Deleted, path);
            }
            return Ok(());
        }
        let kind = match original {
            Some(_) => ChangeKind::Changed,
            None => ChangeKind::Added,
        };
        let at = self.changes.len();
        self.add(kind, path);
        if metadata.is_dir() {
            let original = original.filter(|entry| entry.metadata.is_dir());
            self.directory(upper, path, below, original)?;
        }
        let alone = self.changes.len() == at + 1;
        let mount_point =
            original.is_none() && (metadata.is_dir() || metadata.len() == 0) && is_mount_point(path);
        if alone && (mount_point || original.is_some_and(|original| is_copy(&metadata, original))) {
            self.changes.truncate(at);
            self.nothing.push(upper.to_owned());
        }
        Ok(())
    }

    fn add(&mut self, kind: ChangeKind, path: &Path) {
        self.changes.push(Change {
            kind,
            path: path.to_owned(),
        });
    }
}

fn is_mount_point(path: &Path) -> bool {
    MOUNT_POINTS.iter().any(|point| path == Path::new(point))
}

/// A folder that is only there because something was made in it.
fn is_copy(metadata: &Metadata, original: &Entry) -> bool {
    let looks = |metadata: &Metadata| (metadata.mode(), metadata.uid(), metadata.gid());
    metadata.is_dir() && looks(metadata) == looks(&original.metadata)
}

fn sorted(directory: &Path) -> Result<Vec<OsString>> {
    let failed = || ContainerError::file("read", directory);
    let mut names = Vec::new();
    let entries = match fs::read_dir(directory) {
        // A running container has put something else in its place.
        Err(error)
            if matches!(
                Errno::from_io_error(&error),
                Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
            ) =>
        {
            return Ok(names);
        }
        result => result.map_err(failed())?,
    };
    for entry in entries {
        names.push(entry.map_err(failed())?.file_name());
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            match file.ends_with('/') {
                true => fs::create_dir_all(path).unwrap(),
                false => {
                    fs::create_dir_all(path.parent().unwrap()).unwrap();
                    fs::write(path, "").unwrap();
                }
            }
        }
        folder
    }

    fn letters(survey: &Survey) -> Vec<String> {
        let line = |change: &Change| format!("{:?} {}", change.kind, change.path.display());
        survey.changes.iter().map(line).collect()
    }

    #[test]
    fn what_is_there_for_mounting_is_no_change() {
        let lower = folder(&["etc/passwd", "var/log/", "usr/bin/sh"]);
        let upper = folder(&[
            "etc/hosts",
            "etc/resolv.conf",
            "dev/pts/",
            "proc/",
            "var/log/app",
            "data/",
            "usr/bin/sh",
        ]);
        let survey = Survey::of(upper.path(), &[lower.path().to_owned()]).unwrap();
        assert_eq!(
            letters(&survey),
            [
                "Added /data",
                "Changed /usr",
                "Changed /usr/bin",
                "Changed /usr/bin/sh",
                "Changed /var",
                "Changed /var/log",
                "Added /var/log/app"
            ]
        );
        remove_mount_points(upper.path(), &[lower.path().to_owned()]).unwrap();
        let left: Vec<_> = sorted(upper.path()).unwrap();
        assert_eq!(left, ["data", "usr", "var"]);
    }

    #[test]
    fn a_folder_with_another_mode_is_a_change() {
        let lower = folder(&["srv/"]);
        let upper = folder(&["srv/"]);
        fs::set_permissions(upper.path().join("srv"), fs::Permissions::from_mode(0o700)).unwrap();
        let survey = Survey::of(upper.path(), &[lower.path().to_owned()]).unwrap();
        assert_eq!(letters(&survey), ["Changed /srv"]);
    }
}
