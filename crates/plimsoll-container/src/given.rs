//! Files a container is given: secrets and configurations.
//!
//! They lie in memory, `run/files/<12 hex>/<n>`, with the owner and mode they have in the container, and are mounted from
//! there, each on its own. What is in them stands nowhere else: not in the definition, not in the database. One that
//! comes from a file of the host is read again at each start; the others are gone after a reboot, and whoever made the
//! container has to make it again.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, chown};
use std::path::PathBuf;

use camino::{Utf8Path, Utf8PathBuf};
use plimsoll_runtime::{Mount, MountKind};
use plimsoll_store::{MergedTree, Store};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde::{Deserialize, Serialize};

use crate::containers::{Container, Containers};
use crate::{ContainerError, Result};

/// A tmpfs, as statfs(2) calls it.
const TMPFS: i64 = 0x0102_1994;
/// The largest passwd or group file that is read.
const MAX_FILE: u64 = 16 << 20;

/// A file to be given to a container.
#[derive(Clone)]
pub struct GivenFile {
    /// Where it is in the container; absolute.
    pub target: Utf8PathBuf,
    /// What is in it.
    pub content: Content,
    /// Its owner; the user of the container's program where nobody says.
    pub uid: Option<u32>,
    /// Its group, likewise.
    pub gid: Option<u32>,
    /// Who may do what with it.
    pub mode: u32,
}

/// What is in a [`GivenFile`].
#[derive(Clone)]
pub enum Content {
    /// What is in this file of the host at each start.
    File(Utf8PathBuf),
    /// This.
    Bytes(Vec<u8>),
}

/// What is in it must not get into a log.
impl std::fmt::Debug for GivenFile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "GivenFile({})", self.target)
    }
}

/// A [`GivenFile`] as the definition has it: all but what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePlace {
    /// Where it is in the container.
    pub target: Utf8PathBuf,
    /// The file of the host it is read from, if there is one.
    pub source: Option<Utf8PathBuf>,
    /// Its owner in the container.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Who may do what with it.
    pub mode: u32,
}

impl Containers {
    /// Writes the files of a container that is being made, and returns what its definition says of them.
    pub(crate) fn give(
        &self,
        id: &str,
        files: &[GivenFile],
        user: &str,
        lowers: &[PathBuf],
    ) -> Result<Vec<FilePlace>> {
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let all_said = files.iter().all(|file| file.uid.is_some() && file.gid.is_some());
        let (uid, gid) = match all_said {
            true => (0, 0),
            false => owner(user, lowers)?,
        };
        let folder = self.folder(id)?;
        let mut places = Vec::new();
        for (number, file) in files.iter().enumerate() {
            let place = FilePlace {
                target: file.target.clone(),
                source: match &file.content {
                    Content::File(path) => Some(path.clone()),
                    Content::Bytes(_) => None,
                },
                uid: file.uid.unwrap_or(uid),
                gid: file.gid.unwrap_or(gid),
                mode: file.mode,
            };
            match &file.content {
                Content::File(path) => write(&folder, number, &place, &read(path)?)?,
                Content::Bytes(bytes) => write(&folder, number, &place, bytes)?,
            }
            places.push(place);
        }
        Ok(places)
    }

    /// Makes a container's files what they are to be at a start.
    pub(crate) fn give_again(&self, id: &str, places: &[FilePlace]) -> Result<()> {
        if places.is_empty() {
            return Ok(());
        }
        let folder = self.folder(id)?;
        for (number, place) in places.iter().enumerate() {
            let present = folder.join(number.to_string()).exists();
            match &place.source {
                Some(source) if source.exists() || !present => {
                    write(&folder, number, place, &read(source)?)?;
                }
                None if !present => return Err(ContainerError::FileForgotten(place.target.clone())),
                _ => {}
            }
        }
        Ok(())
    }

    /// What the runtime mounts; `mapped` where the container has users of its own, whose the files are.
    pub(crate) fn given_mounts(&self, id: &str, places: &[FilePlace], mapped: bool) -> Vec<Mount> {
        let folder = home(&self.store).join(&id[..12]);
        let mounts = places.iter().enumerate().map(|(number, place)| Mount {
            kind: MountKind::Bind,
            source: folder.join(number.to_string()).into(),
            target: place.target.clone().into(),
            read_only: true,
            options: mapped.then(|| "idmap".to_owned()).into_iter().collect(),
        });
        mounts.collect()
    }

    /// Takes a container's files away.
    pub(crate) fn take_back(&self, id: &str) {
        let _ = fs::remove_dir_all(home(&self.store).join(&id[..12]));
    }

    /// Which of these files a container has not, or not with this in it. One that is read from the host at each start is as
    /// it was at the last.
    pub fn differing_file(&self, container: &Container, files: &[GivenFile]) -> Option<Utf8PathBuf> {
        let folder = home(&self.store).join(container.short_id());
        let places = &container.definition.files;
        let differs = |number: usize, file: &GivenFile| {
            let Some(place) = places.get(number) else {
                return true;
            };
            let present = fs::read(folder.join(number.to_string()));
            let same = match (&file.content, present) {
                (Content::Bytes(bytes), present) => present.is_ok_and(|present| present == *bytes),
                (Content::File(path), Ok(present)) => fs::read(path).is_ok_and(|bytes| bytes == present),
                (Content::File(_), Err(_)) => true,
            };
            !same || place.target != file.target || place.mode != file.mode
        };
        let found = files
            .iter()
            .enumerate()
            .find(|(number, file)| differs(*number, file));
        found.map(|(_, file)| file.target.clone())
    }

    /// Gives the memory back that files of containers and volumes were in; for when all of them are gone.
    pub fn forget_files(&self) {
        crate::mounted_volumes::forget_all(&self.store);
        let home = home(&self.store);
        let _ = unmount(home.as_std_path(), UnmountFlags::DETACH);
        let _ = fs::remove_dir(home);
    }

    /// The folder of a container's files, in memory for certain.
    fn folder(&self, id: &str) -> Result<Utf8PathBuf> {
        let home = home(&self.store);
        if !in_memory(&home) {
            let _lock = self.store.lock("files")?;
            private(&home)?;
            if !in_memory(&home) {
                let flags = MountFlags::NOSUID | MountFlags::NODEV;
                mount("tmpfs", home.as_std_path(), "tmpfs", flags, Some(c"mode=700"))
                    .map_err(|error| ContainerError::file("mount memory on", &home)(error.into()))?;
            }
        }
        let folder = home.join(&id[..12]);
        private(&folder)?;
        Ok(folder)
    }
}

fn home(store: &Store) -> Utf8PathBuf {
    store.run().join("files")
}

fn in_memory(folder: &Utf8Path) -> bool {
    rustix::fs::statfs(folder.as_std_path()).is_ok_and(|system| {
        #[expect(clippy::unnecessary_cast, reason = "its width depends on the processor")]
        let kind = system.f_type as i64;
        kind == TMPFS
    })
}

fn private(folder: &Utf8Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(ContainerError::file("make", folder))
}

fn read(path: &Utf8Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(ContainerError::file("read", path))
}

/// Beside its name first: a container that runs has the old one mounted, and keeps it.
fn write(folder: &Utf8Path, number: usize, place: &FilePlace, bytes: &[u8]) -> Result<()> {
    let path = folder.join(number.to_string());
    let new = folder.join(format!("{number}.new"));
    let written = || {
        let _ = fs::remove_file(&new);
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(bytes)?;
        chown(&new, Some(place.uid), Some(place.gid))?;
        fs::set_permissions(&new, Permissions::from_mode(place.mode & 0o7777))?;
        fs::rename(&new, &path)
    };
    written().map_err(ContainerError::file("write", &path))
}

impl Containers {
    /// The user and the group that the program of a container is, by the files of its image.
    pub fn user_ids(&self, container: &Container) -> Result<(u32, u32)> {
        let definition = &container.definition;
        owner(&definition.spec.user, &definition.rootfs.lowers)
    }
}

/// Who the container's program is.
fn owner(user: &str, lowers: &[PathBuf]) -> Result<(u32, u32)> {
    let tree = MergedTree::new(lowers.to_vec());
    let text = |path: &str| -> Result<String> {
        use std::io::Read as _;
        let mut text = Vec::new();
        if !lowers.is_empty()
            && let Some(entry) = tree.resolve(path.as_ref())?
            && entry.metadata.is_file()
        {
            let read = entry.open()?.take(MAX_FILE).read_to_end(&mut text);
            read.map_err(ContainerError::file("read", path))?;
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    };
    let ids = plimsoll_runtime::user_ids(user, &text("/etc/passwd")?, &text("/etc/group")?);
    ids.map_err(|error| ContainerError::Runtime(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_file_is_not_told() {
        let file = GivenFile {
            target: "/run/secrets/key".into(),
            content: Content::Bytes(b"hunter2".to_vec()),
            uid: None,
            gid: None,
            mode: 0o400,
        };
        assert_eq!(format!("{file:?}"), "GivenFile(/run/secrets/key)");
    }
}
