//! Volumes with a file system of their own (`type=tmpfs`, `ext4`, `nfs` of the driver `local`), mounted once as
//! `run/volumes/<name>`: all containers share it that have the volume.
//!
//! It is mounted for the first of them and lasts until the volume is removed or the host stops: what is in memory outlives a
//! restart of its containers. For a container that starts after a boot it is mounted again.

use std::ffi::CString;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::{fs, io};

use camino::{Utf8Path, Utf8PathBuf};
use plimsoll_store::Store;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::model::MountPoint;
use crate::volumes::{VolumeOptions, Volumes};
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
    /// Where the volume is, mounted for certain. The caller holds the volume's lock.
    pub(crate) fn mounted(&self, name: &str, options: &VolumeOptions) -> Result<Utf8PathBuf> {
        let folder = home(self.0).join(name);
        if is_mounted(&folder) {
            return Ok(folder);
        }
        fs::create_dir_all(&folder).map_err(ContainerError::file("make", &folder))?;
        let kind = options.kind();
        let source = options.driver.get("device").map_or(kind, String::as_str);
        let failed = |error| ContainerError::file("mount a volume on", &folder)(error);
        let (flags, data) = words(kind, options.mount_options()).map_err(failed)?;
        let data = CString::new(data).map_err(|error| failed(error.into()))?;
        mount(source, folder.as_std_path(), kind, flags, Some(data.as_c_str()))
            .map_err(|error| failed(error.into()))?;
        Ok(folder)
    }

    /// Mounts a container's volumes that are not mounted any more: the host has stopped since.
    pub(crate) fn mount_again(&self, points: &[MountPoint]) -> Result<()> {
        let home = home(self.0);
        let lost = points.iter().filter_map(|point| {
            let below = point.source.strip_prefix(&home).ok()?;
            let folder = home.join(below.components().next()?);
            (!is_mounted(&folder)).then_some(point.volume.as_deref()?)
        });
        for name in lost {
            let _lock = self.lock(name)?;
            self.mounted(name, &self.get(name)?.options)?;
        }
        Ok(())
    }

    /// Takes the mount of a volume away, if there is one.
    pub(crate) fn unmount(&self, name: &str) {
        forget(&home(self.0).join(name));
    }
}

/// Takes the mounts of all volumes away; for when all containers are gone.
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

/// Flags for the kernel, and what the file system is told. A share's server goes by its address there: elsewhere mount(8) sees
/// to that.
fn words<'a>(kind: &str, options: impl Iterator<Item = &'a str>) -> io::Result<(MountFlags, String)> {
    let is_share = kind.starts_with("nfs") || kind == "cifs";
    let (mut flags, mut data) = (MountFlags::empty(), Vec::new());
    for option in options {
        match (
            FLAGS.iter().find(|(word, _)| *word == option),
            option.strip_prefix("addr="),
        ) {
            (Some((_, flag)), _) => flags |= *flag,
            (None, Some(server)) if is_share => data.push(format!("addr={}", address(server)?)),
            (None, _) if IDLE.contains(&option) => {}
            (None, _) => data.push(option.to_owned()),
        }
    }
    Ok((flags, data.join(",")))
}

fn address(server: &str) -> io::Result<IpAddr> {
    let mut found = (server, 0).to_socket_addrs()?;
    let first = found.next().ok_or(io::ErrorKind::NotFound)?;
    Ok(first.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_told_from_what_the_file_system_knows() {
        let options = ["size=3m", "rw", "noexec", "uid=7", "nosuid"];
        let (flags, data) = words("tmpfs", options.into_iter()).expect("nobody is looked for");
        assert_eq!(flags, MountFlags::NOEXEC | MountFlags::NOSUID);
        assert_eq!(data, "size=3m,uid=7");
        let (_, data) = words("nfs4", ["addr=localhost", "soft"].into_iter()).expect("every host knows it");
        assert!(
            ["addr=127.0.0.1,soft", "addr=::1,soft"].contains(&data.as_str()),
            "{data}"
        );
    }
}
