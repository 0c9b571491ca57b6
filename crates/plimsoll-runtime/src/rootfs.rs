//! The overlay a container has as its root.

use crate::RuntimeError;
use crate::container_spec::ContainerSpec;
use crate::id_map::{Users, acting};
use crate::libcontainer::{receive_descriptor, send_descriptor};
use crate::privilege::in_user_namespace;
use crate::root::Root;
use crate::source;
use plimsoll_linux::{Cloned, UnshareFlags, clone_process, exit_now};
use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{self as mounting, MountFlags, MountPropagationFlags};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Set explicitly, because distributions differ in their defaults: a layer must hold whole files (metacopy) under
/// their own names (redirect_dir), and lower layers are shared between mounts (index).
const OPTIONS: [(&str, &str); 3] = [("metacopy", "off"), ("redirect_dir", "off"), ("index", "off")];

/// Without rights over `trusted.` attributes overlay keeps its books in those of users, and has the first two off.
const ORDINARY_OPTIONS: [(&str, &str); 2] = [("userxattr", ""), ("index", "off")];

fn options() -> &'static [(&'static str, &'static str)] {
    if in_user_namespace() {
        &ORDINARY_OPTIONS
    } else {
        &OPTIONS
    }
}

/// The longest string fsconfig(2) takes.
const MAX_VALUE: usize = 255;

/// The overlay to mount as root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rootfs {
    /// Layer directories, top first; may be empty (FROM scratch).
    pub lowers: Vec<PathBuf>,
    /// Where changes go.
    pub upper: PathBuf,
    /// Overlay's own scratch directory, on the file system of `upper`.
    pub work: PathBuf,
}

impl Rootfs {
    /// Mounts it at `target` in the calling process's mount namespace.
    ///
    /// Kernels before 6.5 take the layers as one text of a page at most; there the working directory of the process is
    /// changed for a moment so that the paths are short. Without any layer an empty directory beside `upper` serves as
    /// one, for overlay needs it.
    pub fn mount(&self, target: &Path) -> Result<(), RuntimeError> {
        self.mount_with(target, false)
    }

    /// `volatile` leaves out every sync: right where a crash throws the directory away anyhow. The kernel then marks
    /// `work`; [`Rootfs::forget_volatile`] takes the mark away after unmounting, or the next mount is refused.
    pub(crate) fn mount_with(&self, target: &Path, volatile: bool) -> Result<(), RuntimeError> {
        let lowers = self.lowers_or_empty()?;
        match self.mount_by_descriptor(&lowers, target, volatile) {
            Err(Errno::INVAL | Errno::NOSYS) => self.mount_by_text(&lowers, target, volatile),
            result => result.map_err(io::Error::from),
        }
        .map_err(RuntimeError::path("mount overlay at", target))
    }

    /// Takes away what a volatile mount left in `work`.
    pub(crate) fn forget_volatile(&self) -> io::Result<()> {
        match std::fs::remove_dir_all(self.work.join("work/incompat")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn lowers_or_empty(&self) -> Result<Vec<PathBuf>, RuntimeError> {
        if !self.lowers.is_empty() {
            return Ok(self.lowers.clone());
        }
        let empty = self.upper.with_file_name("empty");
        std::fs::create_dir_all(&empty).map_err(RuntimeError::path("make", &empty))?;
        Ok(vec![empty])
    }

    /// The overlay as a mount that is attached nowhere, by its root. It ends with its last user. Only with one thread.
    ///
    /// Where the kernel cannot (before 6.5) a child mounts it at `scratch`, in a mount namespace that ends with it, and
    /// hands over a copy. So it is for users of the container's own, too: before 6.15 a layer must be attached somewhere.
    pub(crate) fn detached(
        &self,
        scratch: &Path,
        volatile: bool,
        users: Option<&Users>,
    ) -> Result<OwnedFd, RuntimeError> {
        let lowers = self.lowers_or_empty()?;
        let failed = |error: io::Error| RuntimeError::path("mount overlay at", scratch)(error);
        if users.is_none() {
            match self.make(&lowers, volatile) {
                Err(Errno::INVAL | Errno::NOSYS) => {}
                result => return result.map_err(|error| failed(error.into())),
            }
        }
        std::fs::create_dir_all(scratch).map_err(failed)?;
        let made = self.in_child(|| self.mount_and_copy(&lowers, scratch, volatile, users));
        std::fs::remove_dir(scratch).map_err(failed)?;
        made.map_err(|error| match users {
            Some(_) => Users::failed(&self.upper, error),
            None => failed(error),
        })
    }

    /// As [`Rootfs::detached`], of what lies at `part`, which no link in it can make anything else.
    pub(crate) fn detached_part(
        &self,
        part: &Path,
        scratch: &Path,
        users: Option<&Users>,
    ) -> Result<OwnedFd, RuntimeError> {
        let lowers = self.lowers_or_empty()?;
        let failed = |error: io::Error| RuntimeError::path("mount from an image", part)(error);
        std::fs::create_dir_all(scratch).map_err(failed)?;
        let made = self.in_child(|| {
            let whole = self.mount_and_copy(&lowers, scratch, false, users)?;
            // A copy of a part is made of what is attached somewhere only (before 6.15).
            let flags = mounting::MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
            mounting::move_mount(&whole, "", fs::CWD, scratch, flags)?;
            Ok(source::copy_of_source(&scratch.join(part), Some(scratch), false)?)
        });
        std::fs::remove_dir(scratch).map_err(failed)?;
        made.map_err(failed)
    }

    /// What `work` makes in a child with mounts of its own, which end with it.
    fn in_child(&self, work: impl FnOnce() -> io::Result<OwnedFd>) -> io::Result<OwnedFd> {
        let (ours, theirs) = UnixStream::pair()?;
        match clone_process(UnshareFlags::NEWNS, None)? {
            Cloned::Child => {
                let (number, tree) = match work() {
                    Ok(tree) => (0, Some(tree)),
                    Err(error) => (error.raw_os_error().unwrap_or(Errno::IO.raw_os_error()), None),
                };
                let _ = send_descriptor(&theirs, &number.to_ne_bytes(), tree.as_ref());
                exit_now(0)
            }
            Cloned::Parent { pidfd, .. } => {
                drop(theirs);
                let received = receive_descriptor(&ours, 4);
                while let Err(Errno::INTR) = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {}
                match received? {
                    (_, Some(tree)) => Ok(tree),
                    (number, None) => {
                        let number = number
                            .try_into()
                            .map_or(Errno::IO.raw_os_error(), i32::from_ne_bytes);
                        Err(io::Error::from_raw_os_error(number))
                    }
                }
            }
        }
    }

    fn mount_and_copy(
        &self,
        lowers: &[PathBuf],
        scratch: &Path,
        volatile: bool,
        users: Option<&Users>,
    ) -> io::Result<OwnedFd> {
        mounting::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        let Some(users) = users else {
            self.mount_by_text(lowers, scratch, volatile)?;
            return copy_of(scratch);
        };
        let mapped = self.mapped(lowers, scratch, users)?;
        // What the overlay makes for itself in `work` must belong to somebody whom the layers know.
        users.map.act()?;
        match mapped.make(&mapped.lowers, volatile) {
            Err(Errno::INVAL | Errno::NOSYS) => {
                mapped.mount_by_text(&mapped.lowers, scratch, volatile)?;
                copy_of(scratch)
            }
            result => Ok(result?),
        }
    }

    /// The same layers, mounted at `scratch` with their owners mapped.
    fn mapped(&self, lowers: &[PathBuf], scratch: &Path, users: &Users) -> io::Result<Self> {
        let top = common_parent(lowers.iter().chain([&self.upper, &self.work]));
        let layers = copy_of(&top)?;
        users.map_owners(&layers)?;
        let flags = mounting::MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        mounting::move_mount(&layers, "", fs::CWD, scratch, flags)?;
        let there = |path: &PathBuf| scratch.join(path.strip_prefix(&top).expect("it is what all are below"));
        Ok(Self {
            lowers: lowers.iter().map(there).collect(),
            upper: there(&self.upper),
            work: there(&self.work),
        })
    }

    /// The new mount API with one `lowerdir+` per layer: no bound on their number (kernel 6.5).
    fn mount_by_descriptor(
        &self,
        lowers: &[PathBuf],
        target: &Path,
        volatile: bool,
    ) -> rustix::io::Result<()> {
        let overlay = self.make(lowers, volatile)?;
        let flags = mounting::MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        mounting::move_mount(&overlay, "", fs::CWD, target, flags)
    }

    fn make(&self, lowers: &[PathBuf], volatile: bool) -> rustix::io::Result<OwnedFd> {
        let context = mounting::fsopen("overlay", mounting::FsOpenFlags::FSOPEN_CLOEXEC)?;
        // Held until the file system is there: long paths are named by their descriptors.
        let mut held = Vec::new();
        let mut set = |key: &str, path: &Path| {
            let name = short_name(path, &mut held)?;
            mounting::fsconfig_set_string(&context, key, name.as_path())
        };
        for lower in lowers {
            set("lowerdir+", lower)?;
        }
        set("upperdir", &self.upper)?;
        set("workdir", &self.work)?;
        for (key, value) in options() {
            skip_unknown(match *value {
                "" => mounting::fsconfig_set_flag(&context, *key),
                value => mounting::fsconfig_set_string(&context, *key, value),
            })?;
        }
        if volatile {
            skip_unknown(mounting::fsconfig_set_flag(&context, "volatile"))?;
        }
        mounting::fsconfig_create(&context)?;
        let attributes = mounting::MountAttrFlags::empty();
        mounting::fsmount(&context, mounting::FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    }

    /// mount(2) with everything in one text, relative to the directory all have in common.
    fn mount_by_text(&self, lowers: &[PathBuf], target: &Path, volatile: bool) -> io::Result<()> {
        let target = std::path::absolute(target)?;
        let absolute = |path: &PathBuf| std::path::absolute(path);
        let lowers: Vec<_> = lowers.iter().map(absolute).collect::<Result<_, _>>()?;
        let (upper, work) = (absolute(&self.upper)?, absolute(&self.work)?);
        let common = common_parent(lowers.iter().chain([&upper, &work]));
        let present = fs::open(
            ".",
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        rustix::process::chdir(&common)?;
        let text = overlay_text(&common, &lowers, &upper, &work);
        let mut result = Err(Errno::INVAL);
        // An option this kernel does not know makes the whole call fail: leave them out one by one.
        for known in (0..=options().len()).rev() {
            let mut text = text.clone();
            for (key, value) in &options()[..known] {
                text.push(match *value {
                    "" => format!(",{key}"),
                    value => format!(",{key}={value}"),
                });
            }
            if volatile {
                text.push(",volatile");
            }
            let data = std::ffi::CString::new(text.into_vec())?;
            result = mounting::mount(
                "overlay",
                &target,
                "overlay",
                MountFlags::empty(),
                data.as_c_str(),
            );
            if result != Err(Errno::INVAL) {
                break;
            }
        }
        rustix::process::fchdir(&present)?;
        Ok(result?)
    }
}

/// A mount like the one at `path`, attached nowhere.
fn copy_of(path: &Path) -> io::Result<OwnedFd> {
    let flags = mounting::OpenTreeFlags::OPEN_TREE_CLONE | mounting::OpenTreeFlags::OPEN_TREE_CLOEXEC;
    Ok(mounting::open_tree(fs::CWD, path, flags)?)
}

/// Gives the process a mount namespace of its own from which nothing leaks to the host. Only with one thread.
pub fn enter_private_mounts() -> Result<(), RuntimeError> {
    plimsoll_linux::unshare(UnshareFlags::NEWNS).map_err(io::Error::from)?;
    mounting::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(RuntimeError::path("make private", Path::new("/")))
}

/// Whether an overlay can be mounted, as containers have it: tried in mounts of the calling process's own, which must be free
/// to make them. Only with one thread.
pub fn try_overlay() -> io::Result<()> {
    plimsoll_linux::unshare(UnshareFlags::NEWNS)?;
    mounting::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    // Everybody has it, and nobody sees what is mounted there now.
    let top = Path::new("/tmp");
    mounting::mount("tmpfs", top, "tmpfs", MountFlags::empty(), None)?;
    let rootfs = Rootfs {
        lowers: vec![top.join("lower")],
        upper: top.join("upper"),
        work: top.join("work"),
    };
    for folder in rootfs
        .lowers
        .iter()
        .chain([&rootfs.upper, &rootfs.work, &top.join("merged")])
    {
        std::fs::create_dir(folder)?;
    }
    match rootfs.mount(&top.join("merged")) {
        Err(RuntimeError::Path { source, .. }) => Err(source),
        result => result.map_err(io::Error::other),
    }
}

/// Follows the links in every target, so that a mount on a link that leads nowhere makes the file it names, and makes
/// the working directory where it is missing.
pub(crate) fn prepare(root: &Root, spec: &ContainerSpec) -> Result<ContainerSpec, RuntimeError> {
    let mut spec = spec.clone();
    for mount in &mut spec.mounts {
        if mount.target.is_absolute() && !below_a_mount(&mount.target) {
            mount.target = root.resolve(&mount.target)?.target();
        }
    }
    let cwd = root.resolve(Path::new(&spec.cwd))?;
    let map = spec.userns.as_ref();
    let target = cwd.target();
    let covering = spec
        .mounts
        .iter()
        .filter(|mount| target.starts_with(&mount.target));
    match covering.max_by_key(|mount| mount.target.components().count()) {
        None if below_a_mount(&target) => {}
        None => acting(map, || root.make(&cwd))?,
        // What a bind brings is the user's: the directory is made there, as Docker does.
        Some(mount) if mount.kind == crate::MountKind::Bind => {
            let Some(root) = directory(mount)? else {
                return Ok(spec);
            };
            let mapped_later = mount.options.iter().any(|option| option == "idmap");
            let inner = root.resolve(target.strip_prefix(&mount.target).expect("it starts with it"))?;
            acting(map.filter(|_| !mapped_later), || root.make(&inner))?;
        }
        Some(_) => {}
    }
    Ok(spec)
}

/// What a bind brings, where that is a directory.
fn directory(mount: &crate::Mount) -> Result<Option<Root>, RuntimeError> {
    let failed = |error: Errno| RuntimeError::path("open", &mount.source)(error);
    let place = source::open(&mount.source, source::beneath(&mount.options)).map_err(failed)?;
    let kind = fs::FileType::from_raw_mode(fs::fstat(&place).map_err(failed)?.st_mode);
    Ok((kind == fs::FileType::Directory).then(|| Root::detached(place, &mount.source)))
}

/// True below /proc, /sys and /dev: what is there comes with the mount, not with the root.
pub(crate) fn below_a_mount(path: &Path) -> bool {
    ["/proc", "/sys", "/dev"]
        .iter()
        .any(|mount| path.starts_with(mount))
}

fn skip_unknown(result: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match result {
        Err(Errno::INVAL) => Ok(()),
        result => result,
    }
}

fn short_name(path: &Path, held: &mut Vec<OwnedFd>) -> rustix::io::Result<PathBuf> {
    if path.as_os_str().len() <= MAX_VALUE {
        return Ok(path.to_owned());
    }
    let fd = fs::open(
        path,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let name = PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    held.push(fd);
    Ok(name)
}

fn common_parent<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> PathBuf {
    let parents = paths.map(|path| path.parent().unwrap_or(path).to_owned());
    parents
        .reduce(|a, b| {
            a.ancestors()
                .find(|parent| b.starts_with(parent))
                .unwrap_or(Path::new("/"))
                .into()
        })
        .unwrap_or_else(|| "/".into())
}

fn overlay_text(common: &Path, lowers: &[PathBuf], upper: &Path, work: &Path) -> OsString {
    let name = |path: &Path| escape(path.strip_prefix(common).unwrap_or(path));
    let mut text = OsString::from("lowerdir=");
    for (n, lower) in lowers.iter().enumerate() {
        if n > 0 {
            text.push(":");
        }
        text.push(name(lower));
    }
    text.push(",upperdir=");
    text.push(name(upper));
    text.push(",workdir=");
    text.push(name(work));
    text
}

/// Colons part the layers and commas the options: a backslash makes them ordinary.
fn escape(path: &Path) -> OsString {
    let mut bytes = Vec::new();
    for &byte in path.as_os_str().as_bytes() {
        if matches!(byte, b'\\' | b':' | b',') {
            bytes.push(b'\\');
        }
        bytes.push(byte);
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rootfs(folder: &Path, lowers: &[&str]) -> Rootfs {
        let make = |name: &str| {
            let path = folder.join(name);
            std::fs::create_dir_all(&path).unwrap();
            path
        };
        Rootfs {
            lowers: lowers.iter().map(|name| make(name)).collect(),
            upper: make("u/fs"),
            work: make("u/work"),
        }
    }

    /// Runs in a thread of its own, whose mounts nobody sees.
    fn in_private_mounts(test: impl FnOnce() + Send) {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root");
            return;
        }
        std::thread::scope(|scope| {
            scope.spawn(|| {
                enter_private_mounts().unwrap();
                test();
            });
        });
    }

    type Mounter = fn(&Rootfs, &[PathBuf], &Path, bool) -> io::Result<()>;

    const WAYS: [Mounter; 2] = [
        |rootfs, lowers, target, volatile| Ok(rootfs.mount_by_descriptor(lowers, target, volatile)?),
        Rootfs::mount_by_text,
    ];

    #[test]
    fn both_ways_mount_none_one_and_many_layers() {
        in_private_mounts(|| {
            for (n, way) in WAYS.into_iter().enumerate() {
                for count in [0, 1, 40] {
                    let folder = tempfile::tempdir().unwrap();
                    let names: Vec<String> = (0..count).map(|n| format!("layer,{n}:x/fs")).collect();
                    let rootfs = rootfs(
                        folder.path(),
                        &names.iter().map(String::as_str).collect::<Vec<_>>(),
                    );
                    for lower in &rootfs.lowers {
                        std::fs::write(lower.join("who"), lower.as_os_str().as_bytes()).unwrap();
                    }
                    let target = folder.path().join("target");
                    std::fs::create_dir(&target).unwrap();
                    let mounted = way(&rootfs, &rootfs.lowers_or_empty().unwrap(), &target, true);
                    if n == 0
                        && mounted
                            .as_ref()
                            .is_err_and(|error| error.raw_os_error() == Some(22))
                    {
                        eprintln!("skipped: `lowerdir+` needs kernel 6.5");
                        break;
                    }
                    mounted.unwrap_or_else(|error| panic!("way {n}, {count} layers: {error}"));
                    std::fs::write(target.join("new"), "x").unwrap();
                    assert!(rootfs.upper.join("new").exists());
                    if let Some(top) = rootfs.lowers.first() {
                        assert_eq!(
                            std::fs::read(target.join("who")).unwrap(),
                            top.as_os_str().as_bytes()
                        );
                    }
                    mounting::unmount(&target, mounting::UnmountFlags::empty()).unwrap();
                    rootfs.forget_volatile().unwrap();
                    rootfs.mount(&target).unwrap();
                    mounting::unmount(&target, mounting::UnmountFlags::empty()).unwrap();
                }
            }
        });
    }

    #[test]
    fn long_paths_are_mounted_too() {
        in_private_mounts(|| {
            let folder = tempfile::tempdir().unwrap();
            let deep = folder.path().join("d".repeat(200)).join("e".repeat(200));
            let rootfs = rootfs(&deep, &["l/fs"]);
            let target = folder.path().join("target");
            std::fs::create_dir(&target).unwrap();
            rootfs.mount(&target).unwrap();
            mounting::unmount(&target, mounting::UnmountFlags::empty()).unwrap();
        });
    }

    #[test]
    fn the_common_parent_and_the_text_are_short() {
        let paths: Vec<PathBuf> = ["/r/s/1/fs", "/r/s/2/fs", "/r/s/3/work"]
            .iter()
            .map(Into::into)
            .collect();
        let common = common_parent(paths.iter());
        assert_eq!(common, Path::new("/r/s"));
        let text = overlay_text(&common, &paths[..2], &paths[1], &paths[2]);
        assert_eq!(text, "lowerdir=1/fs:2/fs,upperdir=2/fs,workdir=3/work");
        assert_eq!(escape(Path::new("a:b,c\\d")), "a\\:b\\,c\\\\d");
    }
}
