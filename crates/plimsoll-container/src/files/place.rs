//! What `cp`'s two paths mean: Docker's rules, which are those of `cp -r` but for `DIR/.`, its contents.

use std::ffi::OsString;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use plimsoll_runtime::Root;
use rustix::fs::{AtFlags, FileType, OFlags, statat};
use rustix::io::Errno;

use super::copy::{Copier, failure, kind, open_directory};
use crate::{ContainerError, Result};

/// What is copied.
pub(crate) enum Source {
    /// The entry of a directory, not a directory itself. Its copy is called `name`: as the link that led to it.
    Leaf {
        parent: OwnedFd,
        entry: OsString,
        name: OsString,
    },
    /// A directory; without a name its contents are meant.
    Directory {
        directory: OwnedFd,
        name: Option<OsString>,
    },
}

/// Where it goes.
enum Destination {
    /// Into a directory that is there.
    Into(OwnedFd),
    /// To a name in a directory; a file may be there.
    Named {
        parent: OwnedFd,
        name: OsString,
        exists: bool,
    },
}

impl Source {
    /// Finds `path` below `root`. A final link is copied as a link, unless `follow` or a final slash say otherwise.
    pub(crate) fn find(root: &Root, path: &Path, follow: bool) -> Result<Self> {
        let missing = || ContainerError::Copy(format!("no such file or directory: {}", path.display()));
        let clean = lexical(path);
        let (Some(parent), Some(name)) = (clean.parent(), clean.file_name()) else {
            return Ok(Self::Directory {
                directory: open_at(root, Path::new(""), path)?,
                name: None,
            });
        };
        let place = match follow || wants_directory(path) {
            true => root.resolve(&clean)?,
            false => {
                let mut place = root.resolve(parent)?;
                place.missing.push(name.to_owned());
                place
            }
        };
        let (parent, entry) = match place.missing.as_slice() {
            [] => match (place.existing.parent(), place.existing.file_name()) {
                (Some(parent), Some(entry)) => (parent.to_owned(), entry.to_owned()),
                // A link to the root itself.
                _ => (PathBuf::new(), ".".into()),
            },
            [entry] => (place.existing, entry.clone()),
            _ => return Err(missing()),
        };
        let parent = open_at(root, &parent, path)?;
        let stat = match statat(&parent, &entry, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Err(missing()),
            result => result.map_err(|error| failure(path, error))?,
        };
        if kind(&stat) == FileType::Directory {
            let directory = open_directory(parent.as_fd(), &entry).map_err(|error| failure(path, error))?;
            let name = (!ends_in_dot(path)).then(|| name.to_owned());
            return Ok(Self::Directory { directory, name });
        }
        if wants_directory(path) {
            return Err(ContainerError::Copy(format!(
                "not a directory: {}",
                path.display()
            )));
        }
        Ok(Self::Leaf {
            parent,
            entry,
            name: name.to_owned(),
        })
    }

    /// Copies it to `path` below `root`.
    pub(crate) fn copy(&self, root: &Root, path: &Path, mut copier: Copier) -> Result<()> {
        match (
            self,
            Destination::find(root, path, matches!(self, Self::Directory { .. }))?,
        ) {
            (Self::Directory { directory, name }, Destination::Into(into)) => match name {
                Some(name) => copier.directory(directory, &into, name, &path.join(name)),
                None => copier.contents(directory, &Rc::new(into), path),
            },
            (Self::Directory { .. }, Destination::Named { exists: true, .. }) => {
                Err(ContainerError::Copy("cannot copy directory".to_owned()))
            }
            (Self::Directory { directory, .. }, Destination::Named { parent, name, .. }) => {
                copier.directory(directory, &parent, &name, path)
            }
            (Self::Leaf { parent, entry, name }, Destination::Into(into)) => {
                copier.entry(parent.as_fd(), entry, &Rc::new(into), name, &path.join(name))
            }
            (Self::Leaf { parent, entry, .. }, Destination::Named { parent: to, name, .. }) => {
                copier.entry(parent.as_fd(), entry, &Rc::new(to), &name, path)
            }
        }
    }
}

impl Destination {
    fn find(root: &Root, path: &Path, directory: bool) -> Result<Self> {
        let place = root.resolve(&lexical(path))?;
        let no_directory = || ContainerError::Copy(format!("no such directory: {}", path.display()));
        match place.missing.as_slice() {
            [] => {
                let (Some(parent), Some(name)) = (place.existing.parent(), place.existing.file_name()) else {
                    return Ok(Self::Into(open_at(root, Path::new(""), path)?));
                };
                let parent = open_at(root, parent, path)?;
                match open_directory(parent.as_fd(), name) {
                    Ok(into) => Ok(Self::Into(into)),
                    Err(Errno::NOTDIR) if wants_directory(path) => Err(ContainerError::Copy(format!(
                        "not a directory: {}",
                        path.display()
                    ))),
                    Err(Errno::NOTDIR) => Ok(Self::Named {
                        parent,
                        name: name.to_owned(),
                        exists: true,
                    }),
                    Err(error) => Err(failure(path, error)),
                }
            }
            [name] if directory || !wants_directory(path) => Ok(Self::Named {
                parent: open_at(root, &place.existing, path)?,
                name: name.clone(),
                exists: false,
            }),
            _ => Err(no_directory()),
        }
    }
}

/// Opens the directory `path`, which has no links, below `root`.
fn open_at(root: &Root, path: &Path, shown: &Path) -> Result<OwnedFd> {
    let opened = root.open_exactly(path, OFlags::RDONLY | OFlags::DIRECTORY);
    opened.map_err(|error| failure(shown, error))
}

/// A final slash or dot says that a directory is meant.
fn wants_directory(path: &Path) -> bool {
    path.as_os_str().as_bytes().ends_with(b"/") || ends_in_dot(path)
}

fn ends_in_dot(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    bytes == b"." || bytes.ends_with(b"/.")
}

/// Takes `.` and `..` out without looking at the disk, as Docker does with both paths.
fn lexical(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}
