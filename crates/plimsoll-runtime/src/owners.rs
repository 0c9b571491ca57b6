//! The root of a container that has users of its own: on disk its files belong to the same users as everybody's.
//!
//! The kernel maps owners for a mount (idmapped mounts, 5.12; below an overlay 5.19). So layers are shared with containers
//! that have the host's users, and what is committed has the owners that the container saw.

use crate::RuntimeError;
use crate::container_spec::IdMap;
use crate::rootfs::{Rootfs, common_parent};
use plimsoll_linux::{Cloned, UnshareFlags, clone_process, exit_now, map_owners};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Mounts all layers of `rootfs` at `scratch` with their owners mapped, in the mount namespace of this process, and returns
/// where they are now.
pub(crate) fn mapped(rootfs: &Rootfs, map: IdMap, scratch: &Path) -> Result<Rootfs, RuntimeError> {
    let failed = |error: io::Error| RuntimeError::path("map the owners of", scratch)(error);
    let lowers = rootfs.lowers_or_empty()?;
    let top = common_parent(lowers.iter().chain([&rootfs.upper, &rootfs.work]));
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = open_tree(CWD, &top, flags).map_err(|error| failed(error.into()))?;
    let users = namespace(map).map_err(failed)?;
    map_owners(mount.as_fd(), users.as_fd()).map_err(failed)?;
    std::fs::create_dir_all(scratch).map_err(failed)?;
    move_mount(&mount, "", CWD, scratch, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(|error| failed(error.into()))?;
    let there = |path: &PathBuf| {
        scratch.join(
            path.strip_prefix(&top)
                .expect("it is below what all have in common"),
        )
    };
    Ok(Rootfs {
        lowers: lowers.iter().map(there).collect(),
        upper: there(&rootfs.upper),
        work: there(&rootfs.work),
    })
}

/// A user namespace, made by a child that lives until it is open here.
fn namespace(map: IdMap) -> io::Result<OwnedFd> {
    let (wait, end) = io::pipe()?;
    match clone_process(UnshareFlags::NEWUSER, None)? {
        Cloned::Child => {
            drop(end);
            let _ = rustix::io::read(&wait, &mut [0_u8; 1]);
            exit_now(0)
        }
        Cloned::Parent { pid, pidfd } => {
            let made = write_maps(pid, map).and_then(|()| {
                let path = format!("/proc/{pid}/ns/user");
                Ok(rustix::fs::open(
                    path,
                    OFlags::RDONLY | OFlags::CLOEXEC,
                    Mode::empty(),
                )?)
            });
            drop(end);
            while let Err(rustix::io::Errno::INTR) =
                waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)
            {}
            made
        }
    }
}

fn write_maps(pid: i32, map: IdMap) -> io::Result<()> {
    std::fs::write(
        format!("/proc/{pid}/uid_map"),
        format!("0 {} {}", map.uid, map.size),
    )?;
    std::fs::write(
        format!("/proc/{pid}/gid_map"),
        format!("0 {} {}", map.gid, map.size),
    )
}
