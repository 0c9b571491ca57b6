//! Owner, mode, extended attributes and times; in this order, since chown clears set-id bits and
//! `security.capability`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Gid, Mode, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::{Change, Original, Owner, timestamps};
use crate::error::OpError;

/// Dresses the copy of a directory; not its times.
pub(super) fn dress_directory(host: &Path, source: &Original<'_>, change: &Change) -> Result<(), OpError> {
    chown(host, change.owner_of(&source.stat))?;
    chmod(host, change.mode_of(&source.stat))?;
    copy_xattrs(host, source)
}

/// Dresses the copy of a symlink, fifo or device.
pub(super) fn dress_node(host: &Path, source: &Original<'_>, change: &Change) -> Result<(), OpError> {
    chown(host, change.owner_of(&source.stat))?;
    if !source.stat.is_symlink() {
        chmod(host, change.mode_of(&source.stat))?;
    }
    copy_xattrs(host, source)?;
    set_times(host, &timestamps(&source.stat))
}

/// Dresses the copy of a regular file that is open.
pub(super) fn dress_file(
    file: &fs::File,
    host: &Path,
    source: &Original<'_>,
    change: &Change,
) -> Result<(), OpError> {
    let owner = change.owner_of(&source.stat);
    let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
    rustix::fs::fchown(file, Some(uid), Some(gid)).map_err(failed("change owner of", host))?;
    rustix::fs::fchmod(file, Mode::from_raw_mode(change.mode_of(&source.stat)))
        .map_err(failed("change mode of", host))?;
    copy_xattrs(host, source)?;
    rustix::fs::futimens(file, &timestamps(&source.stat)).map_err(failed("set times of", host))
}

pub(super) fn set_times(host: &Path, times: &Timestamps) -> Result<(), OpError> {
    rustix::fs::utimensat(CWD, host, times, AtFlags::SYMLINK_NOFOLLOW).map_err(failed("set times of", host))
}

pub(super) fn chown(host: &Path, owner: Owner) -> Result<(), OpError> {
    let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
    rustix::fs::chownat(CWD, host, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(failed("change owner of", host))
}

pub(super) fn chmod(host: &Path, mode: u32) -> Result<(), OpError> {
    fs::set_permissions(host, fs::Permissions::from_mode(mode)).map_err(OpError::io("change mode of", host))
}

/// Not every file system has every attribute, and links and devices have no `user.` ones (`EPERM`, xattr(7)).
pub(super) fn set_xattr(host: &Path, name: &OsStr, value: &[u8]) -> Result<(), OpError> {
    match rustix::fs::lsetxattr(host, name, value, XattrFlags::empty()) {
        Ok(()) | Err(Errno::NOTSUP | Errno::PERM) => Ok(()),
        Err(error) => Err(failed("set attributes of", host)(error)),
    }
}

fn copy_xattrs(host: &Path, source: &Original<'_>) -> Result<(), OpError> {
    let found =
        plimsoll_layer::xattrs(source.host).map_err(OpError::io("read the attributes of", source.host))?;
    found
        .iter()
        .try_for_each(|(name, value)| set_xattr(host, name, value))
}

fn failed<'a>(operation: &'static str, host: &'a Path) -> impl FnOnce(Errno) -> OpError + 'a {
    move |error| OpError::io(operation, host)(error.into())
}
