//! The files of a container: `cp`, `diff`, and what `export` and `commit` start from.

mod archive;
mod changes;
mod copy;
mod place;
mod root;
mod view;

use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use plimsoll_runtime::{Root, RuntimeError};
use plimsoll_store::SnapshotId;
use rustix::process::{getegid, geteuid};

use self::copy::{Copier, Owner};
use self::place::Source;
use crate::containers::{Container, Containers};
use crate::{ContainerError, Result};

pub use changes::{Change, ChangeKind};
pub use view::View;

/// How `cp` copies.
#[derive(Clone, Copy, Debug, Default)]
pub struct CopyOptions {
    /// Copies keep their owners also on the way out; otherwise they belong to who copies.
    pub archive: bool,
    /// A source that is a link stands for what it leads to.
    pub follow_link: bool,
}

impl Containers {
    /// Copies from the host, `source` being absolute, to a path of a container. Owners stay.
    pub fn copy_in(
        &self,
        container: &Container,
        source: &Path,
        path: &Path,
        options: CopyOptions,
    ) -> Result<()> {
        self.inside(container, |root, map| {
            let source = Source::find(&host()?, source, options.follow_link)?;
            source.copy(root, path, Copier::new(Owner::kept(map, Owner::Outer)))
        })
    }

    /// Copies from a path of a container to the host, `destination` being absolute.
    pub fn copy_out(
        &self,
        container: &Container,
        path: &Path,
        destination: &Path,
        options: CopyOptions,
    ) -> Result<()> {
        self.inside(container, |root, map| {
            let owner = match options.archive {
                true => Owner::kept(map, Owner::Inner),
                false => Owner::Given(geteuid().as_raw(), getegid().as_raw()),
            };
            let source = find(root, container, path, options)?;
            source.copy(&host()?, destination, Copier::new(owner))
        })
    }

    /// Writes a path of a container as a tar archive.
    pub fn archive(
        &self,
        container: &Container,
        path: &Path,
        options: CopyOptions,
        out: impl Write + Send,
    ) -> Result<()> {
        self.inside(container, |root, map| {
            archive::write(&find(root, container, path, options)?, map, out)
        })
    }

    /// Unpacks a tar archive into a directory of a container.
    pub fn unpack(&self, container: &Container, tar: impl Read + Send, path: &Path) -> Result<()> {
        let home = self.paths(container.id()).home;
        // In the container's own folder: killed half-way, it goes with the container.
        let folder = tempfile::tempdir_in(&home).map_err(ContainerError::file("make a folder in", &home))?;
        archive::unpack(tar, folder.path())?;
        self.inside(container, |root, map| {
            let missing = || {
                ContainerError::Copy(format!(
                    "destination \"{}:{}\" must be a directory",
                    container.name,
                    path.display()
                ))
            };
            match Source::find(root, path, true) {
                Ok(Source::Directory { .. }) => {}
                _ => return Err(missing()),
            }
            let source = Source::find(&host()?, &folder.path().join("."), false)?;
            source.copy(root, path, Copier::new(Owner::kept(map, Owner::Outer)))
        })
    }

    /// A container's own layer, and the directories of those below it.
    pub fn layers(&self, container: &Container) -> Result<(View, Vec<PathBuf>)> {
        let rootfs = &container.definition.rootfs;
        Ok((View::of(&rootfs.upper)?, rootfs.lowers.clone()))
    }

    /// Makes a layer of what a container has changed in its root. It stays as long as this process has the store open,
    /// or an image is made of it.
    pub(crate) fn snapshot(&self, container: &Container) -> Result<SnapshotId> {
        let snapshots = self.store.snapshots();
        let rootfs = &container.definition.rootfs;
        let layer = snapshots.prepare(snapshots.parent(container.definition.snapshot)?)?;
        copy_layer(View::of(&rootfs.upper)?.path(), layer.upper(), layer.lowers())?;
        changes::remove_mount_points(layer.upper(), layer.lowers())?;
        Ok(snapshots.commit(layer)?)
    }
}

/// Copies a layer directory with its marks of deletion, by way of its archive.
fn copy_layer(from: &Path, to: &Path, lowers: &[PathBuf]) -> Result<()> {
    let (reader, writer) = std::io::pipe().map_err(ContainerError::file("make", "a pipe"))?;
    let failed =
        |error: plimsoll_layer::LayerError| ContainerError::file("copy", from)(std::io::Error::other(error));
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| plimsoll_layer::diff(from, writer));
        let applied = plimsoll_layer::apply(reader, to, lowers).map_err(failed);
        let written = writing
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        written.map_err(failed)?;
        applied.map(drop)
    })
}

fn host() -> Result<Root> {
    Ok(Root::open(Path::new("/"))?)
}

fn find(root: &Root, container: &Container, path: &Path, options: CopyOptions) -> Result<Source> {
    let unresolved = |error: &RuntimeError| matches!(error, RuntimeError::Path { source, .. } if source.kind() == ErrorKind::NotFound);
    Source::find(root, path, options.follow_link).map_err(|error| match error {
        ContainerError::Runtime(inner) if !unresolved(&inner) => ContainerError::Runtime(inner),
        ContainerError::Copy(_) | ContainerError::Runtime(_) => ContainerError::Copy(format!(
            "Could not find the file {} in container {}",
            path.display(),
            container.name
        )),
        error => error,
    })
}
