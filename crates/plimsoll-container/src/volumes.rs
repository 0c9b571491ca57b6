//! Volumes: `volumes/<name>/_data`, filled from the image the first time.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use plimsoll_runtime::Root;
use plimsoll_store::{Entry, MergedTree, Store};
use rusqlite::{OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};

use crate::containers::Containers;
use crate::mounts::{ImageMount, MountRequest, MountSource, VolumeMount};
use crate::{ContainerError, Result, events, names};

/// One volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// Made for one container, without a name given.
    pub anonymous: bool,
    /// Labels and what it is made of.
    pub options: VolumeOptions,
    /// Where its files are on the host.
    pub mountpoint: Utf8PathBuf,
    /// How many containers have it.
    pub links: usize,
}

/// What the user says about a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeOptions {
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// `--opt` of the driver `local`: `type`, `device` and `o`, as mount(8) takes them.
    pub driver: BTreeMap<String, String>,
}

impl VolumeOptions {
    /// A bind of a folder, a folder of our own, or what the kernel mounts: memory, a disk, a share.
    fn check(&self) -> Result<()> {
        let wrong = |why: String| Err(ContainerError::Option(why));
        const KNOWN: [&str; 3] = ["type", "device", "o"];
        if let Some(key) = self.driver.keys().find(|key| !KNOWN.contains(&key.as_str())) {
            return wrong(format!(
                "volume driver `local` has no option `{key}`: it has type, device and o"
            ));
        }
        let device = self.driver.get("device");
        match self.kind() {
            "" if self.driver.is_empty() => Ok(()),
            "bind" if device.is_some_and(|device| device.starts_with('/')) => Ok(()),
            "bind" => wrong("a volume with o=bind needs device=/an/absolute/path".to_owned()),
            "" => wrong("missing required option: \"type\"".to_owned()),
            "tmpfs" => Ok(()),
            _ if device.is_some() => Ok(()),
            _ => wrong("missing required option: \"device\"".to_owned()),
        }
    }

    /// `bind`, or the type.
    pub(crate) fn kind(&self) -> &str {
        match self
            .mount_options()
            .any(|option| matches!(option, "bind" | "rbind"))
        {
            true => "bind",
            false => self.driver.get("type").map_or("", String::as_str),
        }
    }

    pub(crate) fn mount_options(&self) -> impl Iterator<Item = &str> {
        let options = self.driver.get("o").map_or("", String::as_str);
        options.split(',').filter(|option| !option.is_empty())
    }

    /// Whether a file system of its own is mounted for it.
    fn is_mounted(&self) -> bool {
        !matches!(self.kind(), "" | "bind")
    }
}

impl Containers {
    /// Returns all volumes, by name.
    pub fn volumes(&self) -> Result<Vec<Volume>> {
        Volumes(&self.store).list()
    }

    /// Returns the volume of this name.
    pub fn volume(&self, name: &str) -> Result<Volume> {
        Volumes(&self.store).get(name)
    }

    /// Makes a volume, or returns the one that has the name.
    pub fn create_volume(&self, name: Option<&str>, options: &VolumeOptions) -> Result<Volume> {
        let volumes = Volumes(&self.store);
        let anonymous = name.is_none();
        let name = match name {
            Some(name) if names::is_valid(name) => name.to_owned(),
            Some(name) => return Err(ContainerError::InvalidVolumeName(name.to_owned())),
            None => Volumes::anonymous_name()?,
        };
        options.check()?;
        {
            let _lock = volumes.lock(&name)?;
            let data = volumes.data(&name);
            fs::create_dir_all(&data).map_err(ContainerError::file("make", &data))?;
            volumes.insert(&name, anonymous, options, None)?;
        }
        volumes.get(&name)
    }

    /// What `--volumes-from CONTAINER[:ro|rw]` mounts: all that the container has mounted of volumes and of the host,
    /// where it has it.
    pub fn volumes_from(&self, text: &str) -> Result<Vec<MountRequest>> {
        let (name, read_only) = match text.rsplit_once(':') {
            Some((name, "ro")) => (name, true),
            Some((name, "rw" | "z" | "Z")) => (name, false),
            Some((_, mode)) => {
                return Err(ContainerError::Option(format!(
                    "invalid mode `{mode}` in --volumes-from {text}"
                )));
            }
            None => (text, false),
        };
        let volumes = Volumes(&self.store);
        let mounts = self
            .get(name)?
            .definition
            .mounts
            .into_iter()
            .map(|point| MountRequest {
                source: match (point.image, point.volume) {
                    (Some(image), _) => MountSource::Image(ImageMount {
                        image: image.name,
                        subpath: image.tree.part.and_then(|part| Utf8PathBuf::try_from(part).ok()),
                    }),
                    (None, Some(name)) => MountSource::Volume(VolumeMount {
                        subpath: volumes.subpath(&name, &point.source),
                        name: Some(name),
                        ..VolumeMount::default()
                    }),
                    (None, None) => MountSource::Bind {
                        path: point.source,
                        create: false,
                    },
                },
                target: point.target,
                read_only: read_only || !point.writable,
                options: point.options,
            });
        Ok(mounts.collect())
    }

    /// Removes a volume that no container has.
    pub fn remove_volume(&self, name: &str) -> Result<()> {
        let volumes = Volumes(&self.store);
        volumes.get(name)?;
        match volumes.remove_unused(name)? {
            true => Ok(()),
            false => Err(ContainerError::VolumeInUse {
                name: name.to_owned(),
                containers: volumes.users(name)?,
            }),
        }
    }

    /// Removes a volume unless a container has it by now; returns whether it did.
    pub fn remove_unused_volume(&self, volume: &Volume) -> Result<bool> {
        Volumes(&self.store).remove_unused(&volume.name)
    }
}

/// The volumes of a store.
pub(crate) struct Volumes<'a>(pub(crate) &'a Store);

impl Volumes<'_> {
    /// Finds or makes a volume for `container`; an empty one gets what `image` has at `target`.
    pub(crate) fn obtain(
        &self,
        name: &str,
        anonymous: bool,
        options: &VolumeOptions,
        container: &str,
        image: Option<(&MergedTree, &Path)>,
    ) -> Result<Utf8PathBuf> {
        options.check()?;
        let _lock = self.lock(name)?;
        let data = self.data(name);
        let is_mounted = match self.get(name) {
            Ok(known) => known.options.is_mounted(),
            Err(_) => options.is_mounted(),
        };
        let (whole, image) = (image, image.filter(|_| !is_mounted));
        let is_new = !data.exists();
        if is_new || (image.is_some() && is_empty(data.as_std_path())) {
            let home = self.home(name);
            fs::create_dir_all(&home).map_err(ContainerError::file("make", &home))?;
            // Beside it: a container that has the volume would put links where we are about to write. What a process that
            // died half-way left is begun again.
            let half = home.join("_new");
            let _ = fs::remove_dir_all(&half);
            fs::create_dir(&half).map_err(ContainerError::file("make", &half))?;
            fill(image, half.as_std_path())?;
            let made = match is_new {
                true => fs::rename(&half, &data),
                false => move_into(half.as_std_path(), data.as_std_path()),
            };
            made.map_err(ContainerError::file("make", &data))?;
        }
        self.insert(name, anonymous, options, Some(container))?;
        // One that was there before is what it was made as.
        let known = self.get(name)?.options;
        match known.kind() {
            "bind" => Ok(known.driver["device"].clone().into()),
            "" => Ok(data),
            _ => {
                let mounted = self.mounted(name, &known)?;
                if is_empty(mounted.as_std_path()) {
                    fill(whole, mounted.as_std_path())?;
                }
                Ok(mounted)
            }
        }
    }

    /// Makes up a name for a volume that has none.
    pub(crate) fn anonymous_name() -> Result<String> {
        names::random_id().map_err(ContainerError::file("read", "/dev/urandom"))
    }

    fn home(&self, name: &str) -> Utf8PathBuf {
        self.0.root().join("volumes").join(name)
    }

    fn data(&self, name: &str) -> Utf8PathBuf {
        self.home(name).join("_data")
    }

    /// Which part of a volume is mounted from `source`; None for all of it.
    fn subpath(&self, name: &str, source: &Utf8Path) -> Option<Utf8PathBuf> {
        let part = source.strip_prefix(self.data(name)).ok()?;
        (part != "").then(|| part.to_owned())
    }

    pub(crate) fn lock(&self, name: &str) -> Result<plimsoll_store::Lock> {
        Ok(self.0.lock(&format!("volume-{name}"))?)
    }

    /// Writes the row, if there is none, and who uses it.
    fn insert(
        &self,
        name: &str,
        anonymous: bool,
        options: &VolumeOptions,
        container: Option<&str>,
    ) -> Result<()> {
        let detail = serde_json::to_string(options).expect("maps of strings become JSON");
        let made = self.0.db().write(|transaction| -> Result<usize> {
            let made = transaction.execute(
                "INSERT INTO volume (name, created, anonymous, detail) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO NOTHING",
                params![name, plimsoll_store::now(), anonymous, detail],
            )?;
            if let Some(container) = container {
                transaction.execute(
                    "INSERT INTO volume_use (volume, container) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                    params![name, container],
                )?;
            }
            Ok(made)
        })?;
        if made > 0 {
            // Of one before it that had the name, whose remover died.
            self.unmount(name);
            events::volume(&self.0.events(), "create", name, []);
        }
        Ok(())
    }

    /// Lists the volumes, by name.
    pub(crate) fn list(&self) -> Result<Vec<Volume>> {
        self.0.db().read(|db| {
            let mut statement = db.prepare_cached(&format!("{SELECT} ORDER BY name"))?;
            let rows = statement.query_map([], |row| self.volume(row))?;
            Ok(rows.collect::<std::result::Result<_, _>>()?)
        })
    }

    /// Returns one volume.
    pub(crate) fn get(&self, name: &str) -> Result<Volume> {
        let found = self.0.db().read(|db| -> Result<_> {
            let mut statement = db.prepare_cached(&format!("{SELECT} WHERE name = ?1"))?;
            Ok(statement.query_row([name], |row| self.volume(row)).optional()?)
        })?;
        found.ok_or_else(|| ContainerError::NoVolume(name.to_owned()))
    }

    fn volume(&self, row: &Row<'_>) -> rusqlite::Result<Volume> {
        let name: String = row.get(0)?;
        let detail: String = row.get(2)?;
        Ok(Volume {
            created: Timestamp::from_nanosecond(row.get::<_, i64>(4)?.into()).unwrap_or_default(),
            anonymous: row.get(1)?,
            // Rows of before volumes had any have an empty object.
            options: serde_json::from_str(&detail).unwrap_or_default(),
            mountpoint: self.data(&name),
            links: row.get(3)?,
            name,
        })
    }

    /// Ids of the containers that have a volume.
    fn users(&self, name: &str) -> Result<Vec<String>> {
        self.0.db().read(|db| {
            let mut statement =
                db.prepare_cached("SELECT container FROM volume_use WHERE volume = ?1 ORDER BY container")?;
            Ok(statement
                .query_map([name], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Removes a volume that no container uses any more; returns whether it did.
    pub(crate) fn remove_unused(&self, name: &str) -> Result<bool> {
        let _lock = self.lock(name)?;
        let removed = self.0.db().write(|transaction| -> Result<usize> {
            Ok(transaction.execute(
                "DELETE FROM volume WHERE name = ?1 AND NOT EXISTS (SELECT 1 FROM volume_use WHERE volume = ?1)",
                [name],
            )?)
        })?;
        if removed > 0 {
            self.unmount(name);
            self.0.discard(&self.home(name))?;
            events::volume(&self.0.events(), "destroy", name, []);
        }
        Ok(removed > 0)
    }
}

const SELECT: &str = "SELECT name, anonymous, detail, (SELECT count(*) FROM volume_use WHERE volume = name), created \
                      FROM volume";

/// A folder or file in a volume, which no link in it can make anything else.
pub(crate) fn below(data: &Utf8Path, subpath: &Utf8Path) -> Result<Utf8PathBuf> {
    let root = Root::open(data.as_std_path())?;
    let place = root.resolve(subpath.as_std_path())?;
    let path = data.join(subpath);
    let missing = || ContainerError::Option(format!("cannot access path {path}: no such file or directory"));
    match (place.missing.is_empty(), Utf8PathBuf::try_from(place.existing)) {
        (true, Ok(existing)) => Ok(data.join(existing)),
        _ => Err(missing()),
    }
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none())
}

/// Moves all that `from` has into `to`, each as a whole, and gives `to` the looks of `from`. What has come there meanwhile
/// stays.
fn move_into(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, Mode, OFlags, RenameFlags, openat, renameat_with};
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let (half, data) = (
        openat(CWD, from, flags, Mode::empty())?,
        openat(CWD, to, flags, Mode::empty())?,
    );
    for entry in fs::read_dir(from)? {
        let name = entry?.file_name();
        match renameat_with(&half, &name, &data, &name, RenameFlags::NOREPLACE) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let looks = fs::symlink_metadata(from)?;
    std::os::unix::fs::lchown(to, Some(looks.uid()), Some(looks.gid()))?;
    fs::set_permissions(to, looks.permissions())?;
    fs::remove_dir_all(from)
}

fn fill(image: Option<(&MergedTree, &Path)>, into: &Path) -> Result<()> {
    let Some((tree, target)) = image else {
        return Ok(());
    };
    match tree.resolve(target)? {
        Some(entry) if entry.metadata.is_dir() => Copy {
            tree,
            links: HashMap::new(),
        }
        .directory(&entry, into),
        _ => Ok(()),
    }
}

/// Copies a directory of an image with owners, modes, times, attributes and hard links.
struct Copy<'a> {
    tree: &'a MergedTree,
    /// Files with several names, by device and inode, and where the first was put.
    links: HashMap<(u64, u64), PathBuf>,
}

impl Copy<'_> {
    fn directory(&mut self, from: &Entry, to: &Path) -> Result<()> {
        for name in self.tree.read_dir(from)? {
            if let Some(entry) = self.tree.child(from, &name)? {
                self.entry(&entry, &to.join(&name))?;
            }
        }
        dress(from, to).map_err(ContainerError::file("copy to", to))
    }

    fn entry(&mut self, from: &Entry, to: &Path) -> Result<()> {
        let file = || ContainerError::file("copy to", to);
        let kind = from.metadata.file_type();
        if kind.is_dir() {
            fs::create_dir(to).map_err(file())?;
            return self.directory(from, to);
        }
        let inode = (from.metadata.dev(), from.metadata.ino());
        if from.metadata.nlink() > 1
            && let Some(first) = self.links.get(&inode)
        {
            return fs::hard_link(first, to).map_err(file());
        }
        if kind.is_symlink() {
            fs::read_link(&from.host_path)
                .and_then(|target| std::os::unix::fs::symlink(target, to))
                .map_err(file())?;
        } else if kind.is_file() {
            fs::copy(&from.host_path, to).map_err(file())?;
        } else {
            special(from, to).map_err(file())?;
        }
        dress(from, to).map_err(file())?;
        if from.metadata.nlink() > 1 {
            self.links.insert(inode, to.to_owned());
        }
        Ok(())
    }
}

fn special(from: &Entry, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let mode = from.metadata.mode();
    Ok(mknodat(
        CWD,
        to,
        FileType::from_raw_mode(mode),
        Mode::from_raw_mode(mode),
        from.metadata.rdev(),
    )?)
}

/// Gives a copy the owner, mode, attributes and times of the original. The owner first: changing it clears set-id bits.
fn dress(from: &Entry, to: &Path) -> io::Result<()> {
    std::os::unix::fs::lchown(to, Some(from.metadata.uid()), Some(from.metadata.gid()))?;
    for (name, value) in from.xattrs().map_err(io::Error::other)? {
        rustix::fs::lsetxattr(to, name.as_os_str(), &value, rustix::fs::XattrFlags::empty())?;
    }
    if !from.metadata.is_symlink() {
        fs::set_permissions(to, fs::Permissions::from_mode(from.metadata.mode() & 0o7777))?;
    }
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: from.metadata.atime(),
            tv_nsec: from.metadata.atime_nsec(),
        },
        last_modification: Timespec {
            tv_sec: from.metadata.mtime(),
            tv_nsec: from.metadata.mtime_nsec(),
        },
    };
    Ok(utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}
