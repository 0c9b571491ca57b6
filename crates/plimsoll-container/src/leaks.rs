//! What dead processes left behind of all sorts: the store's, the host's, and the containers' own.
//!
//! [`Containers::leaks`] looks and changes nothing, [`Containers::tidy`] clears away. A container lives while its supervisor
//! holds its lock, or while somebody holds the lock `container-<id>`: to make, start or remove it.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plimsoll_network::Networks;
use plimsoll_runtime::ControlGroup;
use plimsoll_store::{Leak, LeakKind, Lock, SnapshotId, StoreError};

use crate::containers::Containers;
use crate::model::{Definition, read_json};
use crate::{ContainerError, Result};

/// Letters of the id of a container, and of that of a build.
const ID: usize = 64;
const BUILD_ID: usize = 25;
/// Pauses between looks: what somebody was about to clear away has gone by then.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_millis(800),
    Duration::from_millis(1800),
];
/// Below the run-time folder: files that are kept in memory, the namespaces of an ordinary user, and volumes.
const KEPT_MOUNTS: [&str; 3] = ["files", "userns", "volumes"];
const CGROUPS: &str = "/sys/fs/cgroup";

impl Containers {
    /// Returns what dead processes left behind, sorted. Changes nothing. What it finds it has looked at several times, three
    /// seconds in all: others are at work meanwhile, and what they hold in passing is no leak.
    pub fn leaks(&self) -> Result<Vec<Leak>> {
        let mut found = self.look()?;
        for pause in PAUSES {
            if found.is_empty() {
                break;
            }
            std::thread::sleep(pause);
            let again = self.look()?;
            found.retain(|leak| again.contains(leak));
        }
        Ok(found.into_iter().collect())
    }

    /// Clears away what dead processes left behind. Containers whose supervisor was killed have ended afterwards.
    pub fn tidy(&self) -> Result<()> {
        // First, for it makes room where there is none.
        self.store.tidy()?;
        self.list()?;
        for id in self.folders_without_row()? {
            if let Some(_lock) = self.claim(&id)? {
                self.store.discard(&self.paths(&id).home)?;
            }
        }
        for name in self.run_folders_without_row()? {
            let _ = fs::remove_dir_all(self.store.run().join("containers").join(name));
        }
        Networks::new(&self.store).tidy(&|owner| self.claim(owner))?;
        for group in self.stray_cgroups()? {
            if let Some(_lock) = self.claim_group(&group)? {
                ControlGroup::open(&group.path)?.remove()?;
            }
        }
        for mount in self.stray_mounts()? {
            let flags = rustix::mount::UnmountFlags::DETACH;
            rustix::mount::unmount(&mount, flags)
                .map_err(|error| ContainerError::file("unmount", &mount)(error.into()))?;
        }
        for name in self.stray_namespaces() {
            let _ = fs::remove_file(self.store.run().join("netns").join(name));
        }
        Ok(self.store.forget_deaths()?)
    }

    /// As [`Containers::tidy`], where a process has died with a lock in its hand; costs nothing where none has.
    pub fn tidy_after_death(&self) -> Result<()> {
        match self.store.had_deaths() {
            true => self.tidy(),
            false => Ok(()),
        }
    }

    /// Takes the lock of an owner that does not live, so that it stays so: of a container, by its id, or of what a build
    /// calls its places (`<build>-<n>`).
    pub(crate) fn claim(&self, owner: &str) -> Result<Option<Lock>, StoreError> {
        if let Some((build, _)) = owner.split_once('-').filter(|(build, _)| build.len() == BUILD_ID) {
            return self.store.try_lock(&format!("build-{build}"));
        }
        let paths = self.paths(owner);
        if paths.is_supervised() {
            return Ok(None);
        }
        let lock = self.store.try_lock(&format!("container-{owner}"))?;
        // It may have begun to live before it was locked.
        Ok(lock.filter(|_| !paths.is_supervised()))
    }

    /// What can be seen at this moment.
    fn look(&self) -> Result<std::collections::BTreeSet<Leak>> {
        let mut leaks = std::collections::BTreeSet::new();
        leaks.extend(self.untrue_states()?);
        for id in self.folders_without_row()? {
            leaks.insert(Leak::new(
                LeakKind::File,
                format!("containers/{id}"),
                "no such container",
            ));
        }
        for name in self.run_folders_without_row()? {
            let path = self.store.run().join("containers").join(name);
            leaks.insert(Leak::new(LeakKind::File, path, "no such container"));
        }
        for group in self.stray_cgroups()? {
            if self.claim_group(&group)?.is_none() {
                continue;
            }
            let reason = format!("of {}, which does not run", group.owner.name());
            for pid in ControlGroup::open(&group.path)?.processes() {
                leaks.insert(Leak::new(
                    LeakKind::Process,
                    pid.to_string(),
                    format!("in {}", group.path),
                ));
            }
            leaks.insert(Leak::new(LeakKind::Cgroup, group.path, reason));
        }
        for mount in self.stray_mounts()? {
            let name = mount.to_string_lossy().into_owned();
            leaks.insert(Leak::new(
                LeakKind::Mount,
                name,
                "supervisors mount where only they see it",
            ));
        }
        for name in self.stray_namespaces() {
            let path = self.store.run().join("netns").join(name);
            leaks.insert(Leak::new(LeakKind::Netns, path, "nobody names namespaces here"));
        }
        leaks.extend(Networks::new(&self.store).leaks(&|owner| self.claim(owner))?);
        leaks.extend(self.store.leaks()?);
        Ok(leaks)
    }

    /// Containers that are said to run and do not.
    fn untrue_states(&self) -> Result<Vec<Leak>> {
        let mut leaks = Vec::new();
        for row in self.rows()? {
            let paths = self.paths(&row.id);
            let state = paths.read_state()?;
            if state.status.is_alive() && self.claim(&row.id)?.is_some() {
                let reason = format!(
                    "is said to be {}, and its supervisor is dead",
                    state.status.as_str()
                );
                leaks.push(Leak::new(LeakKind::Container, row.name, reason));
            } else if !paths.definition().exists() && self.claim(&row.id)?.is_some() {
                leaks.push(Leak::new(
                    LeakKind::Container,
                    row.name,
                    "half made or half removed",
                ));
            }
        }
        Ok(leaks)
    }

    fn folders_without_row(&self) -> Result<Vec<String>> {
        // Rows before folders, the other way round than they are removed: a folder that is there without a row stays so.
        let folders = names(&self.store.root().join("containers"));
        let known: HashSet<String> = self.rows()?.into_iter().map(|row| row.id).collect();
        Ok(folders.into_iter().filter(|id| !known.contains(id)).collect())
    }

    /// Names of run-time folders. One of a container that is being removed is locked.
    fn run_folders_without_row(&self) -> Result<Vec<String>> {
        let folders = names(&self.store.run().join("containers"));
        let known: HashSet<String> = self
            .rows()?
            .into_iter()
            .map(|row| row.id[..12].to_owned())
            .collect();
        let is_stray = |short: &String| !known.contains(short) && !self.paths(short).is_supervised();
        Ok(folders.into_iter().filter(is_stray).collect())
    }

    /// Groups of this store that belong to nobody who lives.
    fn stray_cgroups(&self) -> Result<Vec<Group>> {
        let marker = format!("plimsoll-{:08x}", self.store.instance());
        let mut groups = Vec::new();
        for hierarchy in hierarchies() {
            collect(&hierarchy, &hierarchy, &marker, &mut groups);
        }
        for row in self.rows()? {
            let definition: Option<Definition> = read_json(self.paths(&row.id).definition().as_std_path())?;
            let Some(path) = definition.map(|definition| definition.spec.cgroup) else {
                continue;
            };
            // Those whose parent was somebody's choice are not found by name.
            let relative = path.trim_start_matches('/');
            if hierarchies()
                .iter()
                .any(|hierarchy| hierarchy.join(relative).is_dir())
            {
                groups.push(Group {
                    path,
                    owner: Owner::Container(row.id),
                });
            }
        }
        groups.sort_by(|one, other| one.path.cmp(&other.path));
        groups.dedup_by(|one, other| one.path == other.path);
        let mut strays = Vec::new();
        for group in groups {
            if self.claim_group(&group)?.is_some() {
                strays.push(group);
            }
        }
        Ok(strays)
    }

    /// As [`Containers::claim`]: something to hold while a group is cleared away.
    fn claim_group(&self, group: &Group) -> Result<Option<Claimed>, StoreError> {
        match &group.owner {
            Owner::Container(id) => Ok(self.claim(id)?.map(|lock| Claimed { _lock: Some(lock) })),
            Owner::Step(snapshot) => match self.store.snapshots().is_being_written(*snapshot)? {
                true => Ok(None),
                // No other step will ever have the number.
                false => Ok(Some(Claimed { _lock: None })),
            },
        }
    }

    /// What is mounted below the store's folders for everybody to see.
    fn stray_mounts(&self) -> Result<Vec<PathBuf>> {
        let path = "/proc/self/mountinfo";
        let table = fs::read_to_string(path).map_err(ContainerError::file("read", path))?;
        let folders = [self.store.root(), self.store.run()];
        let kept = KEPT_MOUNTS.map(|name| self.store.run().join(name));
        let points = table
            .lines()
            .filter_map(|line| line.split(' ').nth(4))
            .map(unescape);
        let is_stray = |point: &PathBuf| {
            let is_below = |folder: &&camino::Utf8Path| point.starts_with(folder);
            folders.iter().any(is_below)
                && !folders.iter().any(|folder| point == folder.as_std_path())
                && !kept.iter().any(|kept| point.starts_with(kept))
        };
        let mut strays: Vec<PathBuf> = points.filter(is_stray).collect();
        // What was mounted last comes off first.
        strays.reverse();
        Ok(strays)
    }

    /// Namespaces that are kept by a name. Ours are kept by descriptors, which die with their processes.
    fn stray_namespaces(&self) -> Vec<String> {
        names(&self.store.run().join("netns"))
    }
}

/// A control group, and whose it is.
#[derive(Debug)]
struct Group {
    /// Below each hierarchy.
    path: String,
    owner: Owner,
}

#[derive(Debug, PartialEq, Eq)]
enum Owner {
    Container(String),
    /// A step of a build, by the layer it writes.
    Step(SnapshotId),
}

impl Owner {
    fn name(&self) -> String {
        match self {
            Self::Container(id) => id[..12].to_owned(),
            Self::Step(snapshot) => format!("a build step ({snapshot})"),
        }
    }
}

/// Held while something is cleared away.
struct Claimed {
    _lock: Option<Lock>,
}

/// Mount points of control groups: the one of version 2, or those of version 1.
fn hierarchies() -> Vec<PathBuf> {
    let top = Path::new(CGROUPS);
    if top.join("cgroup.procs").exists() {
        return vec![top.to_owned()];
    }
    let entries = fs::read_dir(top).into_iter().flatten().flatten();
    // Links are second names of controllers that are mounted together.
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path()).collect()
}

/// Groups below `folder` that are named after a container or step and lie in, or are, one that carries the store's name.
fn collect(hierarchy: &Path, folder: &Path, marker: &str, found: &mut Vec<Group>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let path = entry.path();
        let relative = path
            .strip_prefix(hierarchy)
            .unwrap_or(&path)
            .to_string_lossy()
            .into_owned();
        let owner = entry.file_name().to_str().and_then(owner_of);
        match owner {
            Some(owner) if relative.contains(marker) => found.push(Group {
                path: format!("/{relative}"),
                owner,
            }),
            _ => collect(hierarchy, &path, marker, found),
        }
    }
}

/// Whose group this is, by its name: `<64 digits>` or `build-<16 digits><number of the layer>`, with something around it.
fn owner_of(name: &str) -> Option<Owner> {
    let words = name.split(|letter: char| !letter.is_ascii_hexdigit());
    let longest = words.max_by_key(|word| word.len())?;
    match longest.len() {
        ID => Some(Owner::Container(longest.to_owned())),
        32 if name.contains("build-") => {
            let number = i64::from_str_radix(&longest[16..], 16).ok()?;
            Some(Owner::Step(SnapshotId(number)))
        }
        _ => None,
    }
}

/// Undoes what the kernel does to blanks and the like in lists of mounts: `\040`.
fn unescape(text: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt as _;
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if first == b'\\' => {
                bytes.push(byte);
                rest = &after[3..];
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    std::ffi::OsString::from_vec(bytes).into()
}

fn names(folder: &camino::Utf8Path) -> Vec<String> {
    let entries = folder.read_dir_utf8().into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_say_whose_they_are() {
        let id = "0123456789abcdef".repeat(4);
        assert_eq!(owner_of(&id), Some(Owner::Container(id.clone())));
        assert_eq!(
            owner_of(&format!("plimsoll-12345678-{id}.scope")),
            Some(Owner::Container(id.clone()))
        );
        let step = "build-00000000123456780000000000000013";
        assert_eq!(owner_of(step), Some(Owner::Step(SnapshotId(0x13))));
        assert_eq!(owner_of("plimsoll-12345678"), None);
        assert_eq!(owner_of("user.slice"), None);
    }

    #[test]
    fn blanks_in_lists_of_mounts() {
        assert_eq!(unescape(r"/a\040b\134c"), PathBuf::from(r"/a b\c"));
        assert_eq!(unescape(r"/plain\"), PathBuf::from(r"/plain\"));
    }
}
