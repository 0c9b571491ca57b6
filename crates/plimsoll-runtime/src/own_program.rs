//! Our own binary, out of reach of the containers it makes.
//!
//! A process on its way into a container, or one of ours that stays there (`--init`), shows our binary as `/proc/N/exe`. Who
//! opens that for writing once we have ended, writes on the host (CVE-2019-5736). So what makes containers is executed from
//! a mount of the binary that is read-only, seen nowhere, and gone with its last user.

use plimsoll_linux::{MountAttributes, mount_setattr};
use rustix::fs::CWD;
use rustix::mount::{OpenTreeFlags, open_tree};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A read-only mount of a program, for as long as it is held or the program runs.
#[derive(Debug)]
pub struct ReadOnlyProgram(OwnedFd);

impl ReadOnlyProgram {
    /// What to execute while this is held.
    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }
}

/// Makes one; None where that is not possible: no right to mount, or a kernel before 5.12.
pub fn read_only_program(program: &Path) -> Option<ReadOnlyProgram> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = open_tree(CWD, program, flags).ok()?;
    let attributes = MountAttributes {
        set: MountAttributes::READ_ONLY,
        ..MountAttributes::default()
    };
    mount_setattr(mount.as_fd(), attributes).ok()?;
    Some(ReadOnlyProgram(mount))
}
