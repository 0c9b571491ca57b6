//! Attributes and owners of a mount (mount_setattr(2), kernel 5.12).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Which attributes a mount gets (`MOUNT_ATTR_*` of linux/mount.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MountAttributes {
    /// Those to set.
    pub set: u64,
    /// Those to clear.
    pub clear: u64,
    /// What happens to mounts made on it later (`MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE`); 0 leaves that as it is.
    pub propagation: u64,
    /// Whether it applies to what is mounted below, too.
    pub recursive: bool,
}

impl MountAttributes {
    /// Cannot be written.
    pub const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY;
    /// Set-user-id programs and file capabilities are without effect.
    pub const NO_SUID: u64 = libc::MOUNT_ATTR_NOSUID;
    /// Devices cannot be opened.
    pub const NO_DEVICES: u64 = libc::MOUNT_ATTR_NODEV;
    /// Programs cannot be executed.
    pub const NO_EXEC: u64 = libc::MOUNT_ATTR_NOEXEC;
    /// Links are there and not followed (kernel 5.14).
    pub const NO_LINKS: u64 = libc::MOUNT_ATTR_NOSYMFOLLOW;
    /// Times of reading: never.
    pub const NO_ACCESS_TIME: u64 = libc::MOUNT_ATTR_NOATIME;
    /// Times of reading: always.
    pub const STRICT_ACCESS_TIME: u64 = libc::MOUNT_ATTR_STRICTATIME;
    /// Times of reading of directories: never.
    pub const NO_DIRECTORY_ACCESS_TIME: u64 = libc::MOUNT_ATTR_NODIRATIME;
}

/// Changes the mount whose root `mount` is.
pub fn mount_setattr(mount: BorrowedFd<'_>, attributes: MountAttributes) -> io::Result<()> {
    // SAFETY: a structure of numbers, for which zero means nothing asked for.
    let mut wanted: libc::mount_attr = unsafe { std::mem::zeroed() };
    wanted.attr_set = attributes.set;
    wanted.attr_clr = attributes.clear;
    wanted.propagation = attributes.propagation;
    change(mount, &wanted, attributes.recursive)
}

/// Makes the mount whose root `mount` is show and take owners as the user namespace `users` maps them: who is 0 on disk is
/// who its 0 is outside. Only a mount that was never attached can be changed so; with `recursive` also those below it,
/// or none of them.
pub fn map_owners(mount: BorrowedFd<'_>, users: BorrowedFd<'_>, recursive: bool) -> io::Result<()> {
    // SAFETY: as above.
    let mut wanted: libc::mount_attr = unsafe { std::mem::zeroed() };
    wanted.attr_set = libc::MOUNT_ATTR_IDMAP;
    wanted.userns_fd = u64::from(users.as_raw_fd().unsigned_abs());
    change(mount, &wanted, recursive)
}

fn change(mount: BorrowedFd<'_>, wanted: &libc::mount_attr, recursive: bool) -> io::Result<()> {
    let mut flags = libc::AT_EMPTY_PATH;
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: the path is an empty text, and `wanted` is as long as said and outlives the call, which only reads it.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(wanted),
            size_of_val(wanted),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
