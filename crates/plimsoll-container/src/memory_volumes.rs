//! Volumes in memory (`type=tmpfs` of the driver `local`): a tmpfs each, `run/volumes/<name>`, which all containers share that
//! have the volume.
//!
//! It is mounted for the first of them and lasts until the volume is removed or the host stops: what is in it outlives a
//! restart of its containers. A container that starts after a boot has it mounted again, empty.

use std::ffi::CString;
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use plimsoll_store::Store;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::model::MountPoint;
use crate::volumes::Volumes;
use crate::{ContainerError, Result};

/// Words of mount(8) that are flags of the kernel; others are for the file system.
const FLAGS: [(&str, MountFlags); 6] = [
    ("nosuid", MountFlags::NOSUID),
    ("nodev", MountFlags::NODEV),
    ("noexec", MountFlags::NOEXEC),
    ("noatime", MountFlags::NOATIME),
    ("relatime", MountFlags::RELATIME),
    ("ro", MountFlags::RDONLY),
];
/// Words of which nothing has to be done.
const IDLE: [&str; 5] = ["rw", "exec", "suid", "dev", "defaults"];

impl Volumes<'_> {
    /// Where the volume's memory is, mounted for certain. The caller holds the volume's lock.
    pub(crate) fn memory(&self, name: &str, options: &[String]) -> Result<Utf8PathBuf> {
        let folder = home(self.0).join(name);
        if is_mounted(&folder) {
            return Ok(folder);
        }
        fs::create_dir_all(&folder).map_err(ContainerError::file("make", &folder))?;
        let (flags, data) = words(options);
        let data = CString::new(data).unwrap_or_default();
        mount(
            "tmpfs",
            folder.as_std_path(),
            "tmpfs",
            flags,
            Some(data.as_c_str()),
        )
        .map_err(|error| ContainerError::file("mount memory on", &folder)(error.into()))?;
        Ok(folder)
    }

    /// Mounts the memory of a container's volumes where it is not any more: the host has stopped since.
    pub(crate) fn mount_again(&self, points: &[MountPoint]) -> Result<()> {
        let home = home(self.0);
        let lost = points.iter().filter_map(|point| {
            let below = point.source.strip_prefix(&home).ok()?;
            let folder = home.join(below.components().next()?);
            (!is_mounted(&folder)).then_some(point.volume.as_deref()?)
        });
        for name in lost {
            let _lock = self.lock(name)?;
            self.memory(name, &self.get(name)?.options.memory_options())?;
        }
        Ok(())
    }

    /// Gives the memory of a volume back, if it has any.
    pub(crate) fn forget_memory(&self, name: &str) {
        forget(&home(self.0).join(name));
    }
}

/// Gives the memory of all volumes back; for when all containers are gone.
pub(crate) fn forget_all(store: &Store) {
    let home = home(store);
    let entries = home.read_dir_utf8().into_iter().flatten().flatten();
    entries.for_each(|entry| forget(entry.path()));
    let _ = fs::remove_dir(home);
}

fn forget(folder: &Utf8Path) {
    let _ = unmount(folder.as_std_path(), UnmountFlags::DETACH);
    let _ = fs::remove_dir(folder);
}

fn home(store: &Store) -> Utf8PathBuf {
    store.run().join("volumes")
}

/// Whether something is mounted there: what it is on is another file system.
fn is_mounted(folder: &Utf8Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let device = |path: &Utf8Path| fs::symlink_metadata(path).ok().map(|facts| facts.dev());
    let here = device(folder);
    here.is_some() && here != folder.parent().and_then(device)
}

fn words(options: &[String]) -> (MountFlags, String) {
    let (mut flags, mut data) = (MountFlags::empty(), Vec::new());
    for option in options {
        match FLAGS.iter().find(|(word, _)| word == option) {
            Some((_, flag)) => flags |= *flag,
            None if IDLE.contains(&option.as_str()) => {}
            None => data.push(option.as_str()),
        }
    }
    (flags, data.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_told_from_what_the_file_system_knows() {
        let options = ["size=3m", "rw", "noexec", "uid=7", "nosuid"].map(str::to_owned);
        let (flags, data) = words(&options);
        assert_eq!(flags, MountFlags::NOEXEC | MountFlags::NOSUID);
        assert_eq!(data, "size=3m,uid=7");
    }
}
