//! The root of a container, running or not, as its own processes see it: with its volumes.

use std::os::fd::AsFd as _;
use std::path::Path;

use plimsoll_linux::{MountAttributes, UnshareFlags, mount_setattr, unshare};
use plimsoll_runtime::{IdMap, Root, copy_of_source};
use rustix::fs::{FileType, ResolveFlags, fstat};
use rustix::mount::{MountPropagationFlags, MoveMountFlags, mount_change, move_mount};

use super::copy::{failure, kind};
use crate::containers::{Container, Containers};
use crate::model::{MountPoint, Status};
use crate::{ContainerError, Result};

const READ_ONLY: MountAttributes = MountAttributes {
    set: MountAttributes::READ_ONLY,
    clear: 0,
    propagation: 0,
    recursive: false,
};

impl Containers {
    /// Does something in the root of a container. It runs in a thread of its own, which for a stopped container has a
    /// mount namespace of its own: nothing is left of it afterwards, whatever happens.
    ///
    /// With a map the owners that `work` sees are the host's, and it makes files as root of the container: so it is while a
    /// container with users of its own runs.
    pub(super) fn inside<T: Send>(
        &self,
        container: &Container,
        work: impl FnOnce(&Root, Option<&IdMap>) -> Result<T> + Send,
    ) -> Result<T> {
        let thread = || {
            let map = container.definition.spec.userns.as_ref();
            let (root, map, _lock) = match self.running_root(container)? {
                Some(root) => (root, map, None),
                None => {
                    // Held to the end: overlay does not bear a second mount of the same upper directory.
                    let lock = Some(self.lock(container.id())?);
                    if self.paths(container.id()).is_supervised() {
                        let root = self.running_root(&self.get(container.id())?)?;
                        (root.ok_or(ContainerError::Interrupted)?, map, lock)
                    } else {
                        (mounted_root(container)?, None, lock)
                    }
                }
            };
            if let Some(map) = map {
                map.act()
                    .map_err(ContainerError::file("become root of", container.name.as_str()))?;
            }
            work(&root, map)
        };
        std::thread::scope(|scope| scope.spawn(thread).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// What the first process of a running container has as its root.
    fn running_root(&self, container: &Container) -> Result<Option<Root>> {
        let running = |container: &Container| match container.state.status {
            Status::Running => container.state.pid,
            _ => 0,
        };
        let pid = running(container);
        if pid == 0 {
            return Ok(None);
        }
        let root = Root::open(Path::new(&format!("/proc/{pid}/root")));
        // The number may have become another process's: only one that is still the container's tells us its root.
        match running(&self.get(container.id())?) == pid {
            true => Ok(Some(root?)),
            false => Ok(None),
        }
    }
}

/// Mounts the root of a stopped container with its volumes, in a mount namespace of this thread: over the folder of its
/// own layer, which nobody has a reason to look into by its path.
fn mounted_root(container: &Container) -> Result<Root> {
    let rootfs = &container.definition.rootfs;
    let over = rootfs.upper.parent().unwrap_or(&rootfs.upper);
    let failed = |operation: &'static str| {
        move |error: rustix::io::Errno| ContainerError::file(operation, over)(error.into())
    };
    unshare(UnshareFlags::NEWNS).map_err(failed("separate the mounts of"))?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).map_err(failed("separate the mounts of"))?;
    let sources = container.definition.mounts.iter().map(|point| {
        let source = point.source.as_std_path();
        let tree = match &point.image {
            Some(image) => {
                image.tree.rootfs.mount(source)?;
                let part = image.tree.part.as_deref().unwrap_or(Path::new(""));
                copy_of_source(&source.join(part), Some(source), true)
            }
            None => copy_of_source(source, point.beneath(), true),
        };
        tree.map(|tree| (point, tree))
            .map_err(|error| failure(point.source.as_std_path(), error))
    });
    let sources: Vec<_> = sources.collect::<Result<_>>()?;
    rootfs.mount(over)?;
    let root = Root::open(over)?;
    for (point, tree) in sources {
        attach(&root, point, tree)?;
    }
    if container.definition.spec.read_only {
        mount_setattr(root.as_fd(), READ_ONLY).map_err(ContainerError::file("make read-only", over))?;
    }
    Ok(root)
}

fn attach(root: &Root, point: &MountPoint, tree: std::os::fd::OwnedFd) -> Result<()> {
    let target = point.target.as_std_path();
    let place = root.resolve(target)?;
    let stat = fstat(&tree).map_err(|error| failure(target, error))?;
    match kind(&stat) {
        FileType::Directory => root.make(&place)?,
        _ => root.make_file(&place)?,
    }
    if !point.writable {
        mount_setattr(tree.as_fd(), READ_ONLY).map_err(ContainerError::file("make read-only", target))?;
    }
    let path = place.target();
    let place = root.open_place(path.strip_prefix("/").unwrap_or(&path), ResolveFlags::NO_SYMLINKS);
    let place = place.map_err(|error| failure(target, error))?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(&tree, "", &place, "", flags).map_err(|error| failure(target, error))
}
