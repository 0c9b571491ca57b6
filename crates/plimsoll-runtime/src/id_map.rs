//! Users of a container's own: its root is somebody else on the host.
//!
//! Only the program lives in the user namespace. Everything around it (mounts, network, host name) is made by root of the
//! host and stays the host's, so what the program may do reaches its own files and processes, and no further. On disk its
//! files belong to whom they belong in the container: the layers are mounted with their owners mapped (idmapped mounts,
//! below an overlay since Linux 5.19), so they are shared with containers that have the host's users, and what is committed
//! has the owners that the container saw.

use crate::RuntimeError;
use crate::container_spec::{ContainerSpec, MountKind};
use crate::source::{beneath, copy_of_source};
use crate::user::User;
use plimsoll_linux::{Cloned, UnshareFlags, clone_process, exit_now, make_files_as, map_owners};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, getegid, geteuid, waitid};
use rustix::thread::{capabilities, set_capabilities};
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Whom the kernel shows for everybody who is not in a map (/proc/sys/kernel/overflowuid).
const NOBODY: u32 = 65_534;

/// The first Linux that bears owners mapped below an overlay.
const KERNEL: (u32, u32) = (5, 19);

/// Some successive ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// The first one in the container.
    pub inside: u32,
    /// Who that is on the host.
    pub outside: u32,
    /// How many there are.
    pub size: u32,
}

/// Who the users and groups of a container are on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap {
    uids: Vec<IdRange>,
    gids: Vec<IdRange>,
}

impl IdMap {
    /// A map in which nobody is twice, and root is.
    pub fn new(uids: Vec<IdRange>, gids: Vec<IdRange>) -> Result<Self, RuntimeError> {
        for (kind, ranges) in [("users", &uids), ("groups", &gids)] {
            check(ranges).map_err(|why| RuntimeError::Invalid(format!("invalid map of {kind}: {why}")))?;
        }
        Ok(Self { uids, gids })
    }

    /// Who a user of the container is on the host.
    pub fn outer_user(&self, uid: u32) -> Option<u32> {
        outside(&self.uids, uid)
    }

    /// Who a group of the container is on the host.
    pub fn outer_group(&self, gid: u32) -> Option<u32> {
        outside(&self.gids, gid)
    }

    /// Who a user and a group of the host are in the container.
    pub fn inner(&self, uid: u32, gid: u32) -> (u32, u32) {
        (inside(&self.uids, uid), inside(&self.gids, gid))
    }

    /// From now on what this thread makes belongs to root of the container. It may do what it might before, but does not
    /// end with its parent any longer.
    pub fn act(&self) -> io::Result<()> {
        let root = self.outer_user(0).zip(self.outer_group(0));
        let (uid, gid) = root.expect("a map has root");
        make_files_as(uid, gid)?;
        let mut sets = capabilities(None)?;
        sets.effective = sets.permitted;
        Ok(set_capabilities(None, sets)?)
    }

    /// Whether this machine and this process can have containers with users of their own.
    pub fn check_host() -> Result<(), RuntimeError> {
        Self::check_kernel(crate::host::kernel())?;
        // Only root of the whole machine may map the owners of its file systems.
        let map = std::fs::read_to_string("/proc/self/uid_map")?;
        match map.split_whitespace().eq(["0", "0", "4294967295"]) {
            true => Ok(()),
            false => Err(RuntimeError::Invalid(
                "a map of users needs root of the machine: in a user namespace a container has its users already"
                    .to_owned(),
            )),
        }
    }

    pub(crate) fn check_kernel(kernel: (u32, u32)) -> Result<(), RuntimeError> {
        if kernel >= KERNEL {
            return Ok(());
        }
        Err(RuntimeError::Invalid(format!(
            "a map of users needs Linux {}.{} or later: this is {}.{}",
            KERNEL.0, KERNEL.1, kernel.0, kernel.1
        )))
    }

    /// The kernel only says that an argument is invalid.
    pub(crate) fn check_user(&self, user: &User) -> Result<(), RuntimeError> {
        let missing = |kind: &str, id: u32| {
            let text = format!("{kind} {id} is not in the container's map of users: give it a larger one");
            Err(RuntimeError::Invalid(text))
        };
        if self.outer_user(user.uid).is_none() {
            return missing("user", user.uid);
        }
        let mut groups = user.groups.iter().chain([&user.gid]);
        match groups.find(|gid| self.outer_group(**gid).is_none()) {
            Some(gid) => missing("group", *gid),
            None => Ok(()),
        }
    }
}

fn check(ranges: &[IdRange]) -> Result<(), String> {
    let end = |first: u32, size: u32| u64::from(first) + u64::from(size);
    let meet =
        |a: u32, b: u32, sizes: (u32, u32)| u64::from(a) < end(b, sizes.1) && u64::from(b) < end(a, sizes.0);
    for (n, range) in ranges.iter().enumerate() {
        // The last number is nobody (-1).
        if range.size == 0
            || end(range.inside, range.size).max(end(range.outside, range.size)) > u32::MAX.into()
        {
            return Err(format!(
                "there are no {} from {} or {}",
                range.size, range.inside, range.outside
            ));
        }
        for other in &ranges[..n] {
            let sizes = (range.size, other.size);
            if meet(range.inside, other.inside, sizes) || meet(range.outside, other.outside, sizes) {
                return Err(format!(
                    "somebody from {} or {} is in it twice",
                    range.inside, range.outside
                ));
            }
        }
    }
    match outside(ranges, 0) {
        Some(_) => Ok(()),
        None => Err("0, which is root of the container, is not in it".to_owned()),
    }
}

fn outside(ranges: &[IdRange], id: u32) -> Option<u32> {
    let of = |range: &IdRange| {
        let place = id.checked_sub(range.inside).filter(|place| *place < range.size)?;
        Some(range.outside + place)
    };
    ranges.iter().find_map(of)
}

fn inside(ranges: &[IdRange], id: u32) -> u32 {
    let of = |range: &IdRange| {
        let place = id
            .checked_sub(range.outside)
            .filter(|place| *place < range.size)?;
        Some(range.inside + place)
    };
    ranges.iter().find_map(of).unwrap_or(NOBODY)
}

/// Does something as [`IdMap::act`] says, if there is a map, and is as before.
pub(crate) fn acting<T>(
    map: Option<&IdMap>,
    work: impl FnOnce() -> Result<T, RuntimeError>,
) -> Result<T, RuntimeError> {
    let Some(map) = map else {
        return work();
    };
    map.act()?;
    let result = work();
    make_files_as(geteuid().as_raw(), getegid().as_raw())?;
    result
}

/// A user namespace with its map.
pub(crate) struct Users {
    pub(crate) map: IdMap,
    pub(crate) namespace: OwnedFd,
}

impl Users {
    /// Made by a child that lives until the namespace is open here. Only with one thread.
    pub(crate) fn new(map: &IdMap) -> Result<Self, RuntimeError> {
        let namespace = namespace(map).map_err(|error| RuntimeError::Container {
            operation: "create",
            detail: format!("cannot make a user namespace: {error}"),
        })?;
        Ok(Self {
            map: map.clone(),
            namespace,
        })
    }

    /// For a mount that was never attached.
    pub(crate) fn map_owners(&self, mount: &OwnedFd) -> io::Result<()> {
        map_owners(mount.as_fd(), self.namespace.as_fd(), false)
    }

    /// For a copy of mounts of the host: where what is mounted below cannot be mapped, the top is.
    pub(crate) fn map_owners_of_all(&self, mounts: &OwnedFd) -> io::Result<()> {
        map_owners(mounts.as_fd(), self.namespace.as_fd(), true).or_else(|_| self.map_owners(mounts))
    }

    /// Leaves the owners of binds as they are whose file systems cannot map them; returns what to say about each.
    pub(crate) fn leave_unmapped(&self, spec: &mut ContainerSpec) -> Vec<String> {
        let mut warnings = Vec::new();
        for mount in &mut spec.mounts {
            if mount.kind != MountKind::Bind || !mount.options.iter().any(|option| option == "idmap") {
                continue;
            }
            // What is not there is said when it is mounted.
            let Ok(copy) = copy_of_source(&mount.source, beneath(&mount.options), false) else {
                continue;
            };
            if self.map_owners(&copy).is_err() {
                mount.options.retain(|option| option != "idmap");
                warnings.push(format!(
                    "owners of `{}` are not mapped, for its file system has no idmapped mounts: to the container its files \
                     are nobody's",
                    mount.source.display()
                ));
            }
        }
        warnings
    }

    /// What became of mapping the owners of `path`.
    pub(crate) fn failed(path: &Path, error: io::Error) -> RuntimeError {
        let cause = match Errno::from_io_error(&error) {
            Some(Errno::INVAL | Errno::NOTSUP) => {
                "its file system has no idmapped mounts: ext4, xfs and btrfs have".to_owned()
            }
            _ => error.to_string(),
        };
        RuntimeError::Container {
            operation: "create",
            detail: format!("cannot map the owners of `{}`: {cause}", path.display()),
        }
    }
}

fn namespace(map: &IdMap) -> io::Result<OwnedFd> {
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
                let flags = OFlags::RDONLY | OFlags::CLOEXEC;
                Ok(rustix::fs::open(path, flags, Mode::empty())?)
            });
            drop(end);
            while let Err(Errno::INTR) = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {}
            made
        }
    }
}

fn write_maps(pid: i32, map: &IdMap) -> io::Result<()> {
    for (kind, ranges) in [("uid", &map.uids), ("gid", &map.gids)] {
        let line = |range: &IdRange| format!("{} {} {}\n", range.inside, range.outside, range.size);
        let text: String = ranges.iter().map(line).collect();
        std::fs::write(format!("/proc/{pid}/{kind}_map"), text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(inside: u32, outside: u32, size: u32) -> IdRange {
        IdRange {
            inside,
            outside,
            size,
        }
    }

    #[test]
    fn ids_are_found_in_both_directions() {
        let uids = vec![range(0, 100_000, 1000), range(1000, 1000, 1), range(5000, 0, 2)];
        let map = IdMap::new(uids, vec![range(0, 200_000, 10)]).unwrap();
        let table = [(0, 100_000), (999, 100_999), (1000, 1000), (5001, 1)];
        for (inside, outside) in table {
            assert_eq!(map.outer_user(inside), Some(outside), "{inside}");
            assert_eq!(map.inner(outside, 200_009), (inside, 9));
        }
        assert_eq!((map.outer_user(1001), map.outer_group(10)), (None, None));
        assert_eq!(map.inner(101_000, 0), (NOBODY, NOBODY));
    }

    #[test]
    fn impossible_maps_are_refused() {
        let good = vec![range(0, 100_000, 65_536)];
        let table = [
            (vec![], "root of the container"),
            (vec![range(1, 100_000, 10)], "root of the container"),
            (vec![range(0, 1, 0)], "there are no 0"),
            (vec![range(0, u32::MAX - 5, 10)], "there are no 10"),
            (vec![range(0, 1000, 10), range(9, 2000, 1)], "twice"),
            (vec![range(0, 1000, 10), range(10, 1009, 1)], "twice"),
        ];
        for (wrong, why) in table {
            let error = IdMap::new(good.clone(), wrong.clone()).unwrap_err().to_string();
            assert!(
                error.starts_with("invalid map of groups: ") && error.contains(why),
                "{error}"
            );
            assert!(IdMap::new(wrong, good.clone()).is_err());
        }
    }

    #[test]
    fn who_is_not_in_it_cannot_run() {
        let map = IdMap::new(vec![range(0, 100_000, 10)], vec![range(0, 100_000, 20)]).unwrap();
        let user = |uid, groups: &[u32]| User {
            uid,
            gid: groups[0],
            groups: groups.to_vec(),
            home: String::new(),
        };
        assert!(map.check_user(&user(9, &[19])).is_ok());
        let error = |user| map.check_user(&user).unwrap_err().to_string();
        assert!(error(user(10, &[0])).starts_with("user 10 "));
        assert!(error(user(0, &[0, 20])).starts_with("group 20 "));
        assert!(IdMap::check_kernel((5, 19)).is_ok() && IdMap::check_kernel((5, 15)).is_err());
    }
}
