//! Binds through which mounts that are made later pass: into the container, or also out of it (mount_namespaces(7),
//! "Shared subtrees").

use crate::RuntimeError;
use plimsoll_linux::{MountAttributes, mount_setattr};
use rustix::mount::MountPropagationFlags;
use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// A kind of propagation, and whether it is that of the mounts below, too.
fn kind(option: &str) -> Option<(MountPropagationFlags, bool)> {
    Some(match option {
        "shared" => (MountPropagationFlags::SHARED, false),
        "rshared" => (MountPropagationFlags::SHARED, true),
        "slave" => (MountPropagationFlags::DOWNSTREAM, false),
        "rslave" => (MountPropagationFlags::DOWNSTREAM, true),
        _ => return None,
    })
}

/// Whether a bind with these options must be copied while the mounts of its namespace are still those of the host.
pub(super) fn is_linked(options: &[String]) -> bool {
    options.iter().any(|option| kind(option).is_some())
}

/// Says what passes through a copy of a mount of the host.
pub(super) fn set(mount: impl AsFd, source: &Path, options: &[String]) -> Result<(), RuntimeError> {
    for (flags, recursive) in options.iter().filter_map(|option| kind(option)) {
        check(source, flags)?;
        let attributes = MountAttributes {
            propagation: flags.bits().into(),
            recursive,
            ..MountAttributes::default()
        };
        mount_setattr(mount.as_fd(), attributes).map_err(RuntimeError::path("set propagation of", source))?;
    }
    Ok(())
}

/// Fails where the mount that `source` lies on passes nothing on; in Docker's words.
fn check(source: &Path, wanted: MountPropagationFlags) -> Result<(), RuntimeError> {
    let path = Path::new("/proc/self/mountinfo");
    let table = fs::read_to_string(path).map_err(RuntimeError::path("read", path))?;
    let resolved = fs::canonicalize(source).map_err(RuntimeError::path("bind", source))?;
    let Some(below) = Below::find(&table, &resolved) else {
        return Ok(());
    };
    let kinds = match wanted == MountPropagationFlags::SHARED {
        _ if below.is_shared => return Ok(()),
        true => "shared",
        false if below.is_slave => return Ok(()),
        false => "shared or slave",
    };
    Err(RuntimeError::Invalid(format!(
        "path {} is mounted on {} but it is not a {kinds} mount",
        source.display(),
        below.point.display()
    )))
}

/// The mount that a path lies on.
#[derive(Debug, PartialEq, Eq)]
struct Below {
    point: PathBuf,
    is_shared: bool,
    is_slave: bool,
}

impl Below {
    /// Of several at one place the last is on top.
    fn find(table: &str, path: &Path) -> Option<Self> {
        let mounts = table.lines().filter_map(Self::parse);
        mounts
            .filter(|mount| path.starts_with(&mount.point))
            .max_by_key(|mount| mount.point.components().count())
    }

    /// `36 35 98:0 / /mnt rw,noatime shared:1 master:2 - ext3 ...` (proc_pid_mountinfo(5)).
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let point = unescape(words.nth(4)?);
        let tags: Vec<&str> = words.skip(1).take_while(|word| *word != "-").collect();
        let has = |name: &str| tags.iter().any(|tag| tag.starts_with(name));
        Some(Self {
            point: point.into(),
            is_shared: has("shared:"),
            is_slave: has("master:"),
        })
    }
}

/// Blanks and backslashes are written in three octal digits.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (code, letter)| text.replace(code, letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_that_counts_is_the_nearest() {
        let table = "22 1 8:1 / / rw,relatime - ext4 /dev/sda rw\n\
                     23 22 0:5 / /a\\040b rw shared:3 - tmpfs tmpfs rw\n\
                     24 23 0:6 / /a\\040b/c rw master:3 - tmpfs tmpfs rw\n\
                     25 24 0:7 / /a\\040b/c rw,nosuid shared:4 master:3 - tmpfs tmpfs rw\n";
        let found = |path: &str| {
            let below = Below::find(table, Path::new(path)).unwrap();
            (
                below.point.to_str().unwrap().to_owned(),
                below.is_shared,
                below.is_slave,
            )
        };
        assert_eq!(found("/x"), ("/".to_owned(), false, false));
        assert_eq!(found("/a b/d"), ("/a b".to_owned(), true, false));
        assert_eq!(found("/a b/c/e"), ("/a b/c".to_owned(), true, true));
    }
}
