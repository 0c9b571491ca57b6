//! The file systems of a container, mounted by descriptors only.
//!
//! A path in the container is never joined to one of the host. Each mount is made detached, its target is opened below
//! the root (`RESOLVE_IN_ROOT`, no magic links), and one is attached to the other: a link in the image leads nowhere
//! else, and a race with the container is not possible, for it does not run yet.

use super::child::HooksOfInit;
use super::propagation;
use crate::id_map::Users;
use crate::privilege::{in_user_namespace, node_of};
use crate::root::Root;
use crate::source::{BENEATH, beneath, copy_of_source};
use crate::{Namespaces, RuntimeError};
use oci_spec::runtime::{Linux, LinuxDevice, LinuxDeviceType, Mount, Spec};
use plimsoll_linux::{MountAttributes, mount_setattr};
use rustix::fs::{self, AtFlags, CWD, Dev, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount_change,
    move_mount, open_tree, unmount,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Name and number of the devices every container has.
const DEVICES: &[(&str, u32, u32)] = &[
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

const LINKS: &[(&str, &str)] = &[
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
];

/// What of /proc something else may be mounted on: numbers that are shown as they are for the container (as with runc).
const NUMBERS: [&str; 8] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
];

/// All the bits that say when times of reading are kept (linux/mount.h, MOUNT_ATTR__ATIME).
const ACCESS_TIMES: u64 = 0x70;

/// An option that is an attribute of the mount.
enum Attribute {
    Set(u64),
    Clear(u64),
    /// True of every mount here, or said by the kind of mount.
    Nothing,
}

fn attribute(option: &str) -> Option<Attribute> {
    use Attribute::{Clear, Nothing, Set};
    Some(match option {
        "ro" | "rro" => Set(MountAttributes::READ_ONLY),
        "rw" => Clear(MountAttributes::READ_ONLY),
        "nosuid" => Set(MountAttributes::NO_SUID),
        "suid" => Clear(MountAttributes::NO_SUID),
        "nodev" => Set(MountAttributes::NO_DEVICES),
        "dev" => Clear(MountAttributes::NO_DEVICES),
        "noexec" => Set(MountAttributes::NO_EXEC),
        "exec" => Clear(MountAttributes::NO_EXEC),
        "shared" | "rshared" | "slave" | "rslave" => Nothing,
        "noatime" => Set(MountAttributes::NO_ACCESS_TIME),
        "strictatime" => Set(MountAttributes::STRICT_ACCESS_TIME),
        "nodiratime" => Set(MountAttributes::NO_DIRECTORY_ACCESS_TIME),
        "bind" | "rbind" | "private" | "rprivate" | "defaults" | "relatime" | "idmap" => Nothing,
        _ => return None,
    })
}

/// Whether an option of a bind mount is understood here.
pub(super) fn knows(option: &str) -> bool {
    attribute(option).is_some() || option.starts_with(BENEATH)
}

/// What is mounted of images, by the source of the mount.
pub(super) type Images<'a> = HashMap<&'a Path, &'a OwnedFd>;

/// Makes the overlay and everything on it the root of the calling process, in its own mount namespace.
pub(super) fn enter(
    root: &Root,
    spec: &Spec,
    joined: &Namespaces,
    images: &Images<'_>,
    users: Option<&Users>,
    hooks: Option<&HooksOfInit<'_>>,
) -> Result<(), RuntimeError> {
    let top = Path::new("/");
    // Before anything else: it is taken from the mounts of another container, and one comes back to its root.
    let shm = joined.mounts.as_ref().map(shared_memory).transpose()?;
    // These while the mounts here are still the host's.
    let linked = linked(spec, users)?;
    // Neither direction: nothing made here is seen by the host.
    mount_change(top, MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(RuntimeError::path("make private", top))?;
    // Over the host's root nobody finds it by a path, which hooks must.
    let place = hooks.map_or(top.to_owned(), |hooks| hooks.hooks.root());
    attach(root.as_fd(), CWD, &place, MoveMountFlags::empty())?;
    let mut covers = Covers::new()?;
    // As the kernel is built.
    let core = Path::new("/proc/kcore").exists();
    let mut proc = None;
    for mount in spec.mounts().iter().flatten() {
        let given = shm
            .as_ref()
            .filter(|_| mount.destination() == Path::new(SHARED_MEMORY))
            .or_else(|| linked.get(mount.destination().as_path()))
            .or_else(|| images.get(mount.source().as_deref()?).copied());
        let made = attach_one(root, mount, given, users)?;
        match mount.typ().as_deref() {
            Some("proc") => proc = Some(made),
            // An ordinary user's shows the host's processes, and the network of whoever looks.
            Some("bind") if in_user_namespace() && mount.destination() == Path::new("/proc") => {
                proc = Some(made);
            }
            Some("tmpfs") if mount.destination() == Path::new("/dev") => {
                covers.null =
                    fill_dev(&made, core).map_err(RuntimeError::path("fill", mount.destination()))?;
            }
            _ => {}
        }
    }
    let linux = spec.linux().as_ref().expect("the mapping sets it");
    for device in linux.devices().iter().flatten() {
        make_device(root, device)?;
    }
    if let Some(hooks) = hooks {
        hooks.before_root()?;
    }
    write_sysctls(proc.as_ref(), linux)?;
    for path in linux.masked_paths().iter().flatten() {
        covers.mask(root, path)?;
    }
    for path in linux.readonly_paths().iter().flatten() {
        make_read_only(root, path)?;
    }
    if spec
        .root()
        .as_ref()
        .is_some_and(|root| root.readonly() == Some(true))
    {
        set_attributes(root.as_fd(), MountAttributes::READ_ONLY, 0, false, top)?;
    }
    pivot(root).map_err(RuntimeError::path("change root to", top))
}

/// The old root ends up on top of the new one, and is then taken off (pivot_root(2), "pivot_root(".", ".")").
fn pivot(root: &Root) -> rustix::io::Result<()> {
    rustix::process::fchdir(root)?;
    rustix::process::pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")
}

fn attach_one(
    root: &Root,
    mount: &Mount,
    given: Option<&OwnedFd>,
    users: Option<&Users>,
) -> Result<OwnedFd, RuntimeError> {
    let destination = mount.destination();
    let kind = mount.typ().as_deref().unwrap_or_default();
    let options = mount.options().as_deref().unwrap_or_default();
    let made = match kind {
        _ if let Some(given) = given => given.try_clone()?,
        "bind" => bind(mount.source().as_deref().unwrap_or(Path::new("")), options, users)?,
        kind => {
            let kind = if kind == "cgroup" { "cgroup2" } else { kind };
            let source = mount.source().as_deref().unwrap_or(Path::new(kind));
            file_system(kind, source, options).map_err(RuntimeError::path("mount", destination))?
        }
    };
    let target = mount_point(root, destination, &made, !matches!(kind, "bind" | "overlay"))?;
    if kind != "proc" {
        keep_proc(destination, &made, &target)?;
    }
    attach(
        made.as_fd(),
        target.as_fd(),
        Path::new(""),
        MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH,
    )
    .map_err(|error| at(destination, error))?;
    Ok(made)
}

/// /proc must be the kernel's: what is written there takes rights away, and what is masked there shows the host
/// (CVE-2019-16884, CVE-2023-27561). Where a mount really goes is only known now: volumes have links, too.
fn keep_proc(destination: &Path, made: &OwnedFd, target: &OwnedFd) -> Result<(), RuntimeError> {
    let failed = |error: Errno| RuntimeError::path("examine", destination)(error);
    let is_proc = |fd: &OwnedFd| Ok::<_, Errno>(fs::fstatfs(fd)?.f_type == fs::PROC_SUPER_MAGIC);
    let top = destination == Path::new("/proc");
    let fine = match is_proc(target).map_err(failed)? {
        // What lies on the image's own directory would be a /proc of its making.
        below if top => !below && is_proc(made).map_err(failed)?,
        below => !below || NUMBERS.iter().any(|path| destination == Path::new(path)),
    };
    match fine {
        true => Ok(()),
        false => Err(RuntimeError::Invalid(format!(
            "`{}` cannot be mounted: it is inside /proc",
            destination.display()
        ))),
    }
}

/// A new file system, not attached to anything.
fn file_system(kind: &str, source: &Path, options: &[String]) -> rustix::io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", source)?;
    let mut set = 0;
    for option in options {
        match (attribute(option), option.split_once('=')) {
            (Some(Attribute::Set(bits)), _) => set |= bits,
            (Some(Attribute::Clear(bits)), _) => set &= !bits,
            (Some(Attribute::Nothing), _) => {}
            (None, Some((key, value))) => fsconfig_set_string(&context, key, value)?,
            (None, None) => fsconfig_set_flag(&context, option.as_str())?,
        }
    }
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::from_bits_retain(set as u32);
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Copies of mounts of the host through which others are to pass, by their place in the container.
fn linked<'a>(spec: &'a Spec, users: Option<&Users>) -> Result<HashMap<&'a Path, OwnedFd>, RuntimeError> {
    let mut linked = HashMap::new();
    for mount in spec.mounts().iter().flatten() {
        let options = mount.options().as_deref().unwrap_or_default();
        if mount.typ().as_deref() == Some("bind") && propagation::is_linked(options) {
            let source = mount.source().as_deref().unwrap_or(Path::new(""));
            let made = bind(source, options, users)?;
            propagation::set(&made, source, options)?;
            linked.insert(mount.destination().as_path(), made);
        }
    }
    Ok(linked)
}

/// A copy of a mount of the host, not attached to anything.
fn bind(source: &Path, options: &[String], users: Option<&Users>) -> Result<OwnedFd, RuntimeError> {
    let has = |name: &str| options.iter().any(|option| option == name);
    let made =
        copy_of_source(source, beneath(options), has("rbind")).map_err(RuntimeError::path("bind", source))?;
    if let Some(users) = users.filter(|_| has("idmap")) {
        users
            .map_owners_of_all(&made)
            .map_err(|error| Users::failed(source, error))?;
    }
    let (mut set, mut clear) = (0, 0);
    for option in options {
        match attribute(option) {
            Some(Attribute::Set(bits)) => (set, clear) = (set | bits, clear & !bits),
            Some(Attribute::Clear(bits)) => (set, clear) = (set & !bits, clear | bits),
            _ => {}
        }
    }
    set_attributes(made.as_fd(), set, clear, has("rro"), source)?;
    Ok(made)
}

fn set_attributes(
    mount: impl AsFd,
    set: u64,
    mut clear: u64,
    recursive: bool,
    path: &Path,
) -> Result<(), RuntimeError> {
    if set & ACCESS_TIMES != 0 {
        clear |= ACCESS_TIMES;
    }
    if set == 0 && clear == 0 {
        return Ok(());
    }
    let attributes = MountAttributes {
        set,
        clear,
        propagation: 0,
        recursive,
    };
    mount_setattr(mount.as_fd(), attributes).map_err(RuntimeError::path("set attributes of", path))
}

fn attach(
    mount: impl AsFd,
    folder: impl AsFd,
    path: &Path,
    flags: MoveMountFlags,
) -> Result<(), RuntimeError> {
    let flags = flags | MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(mount, "", folder, path, flags).map_err(RuntimeError::path("mount", path))
}

fn at(destination: &Path, error: RuntimeError) -> RuntimeError {
    match error {
        RuntimeError::Path {
            operation, source, ..
        } => RuntimeError::Path {
            operation,
            path: destination.to_owned(),
            source,
        },
        error => error,
    }
}

/// Opens the place for a mount, and makes it where it is missing: a directory, or an empty file for a file.
fn mount_point(root: &Root, path: &Path, mount: &OwnedFd, own: bool) -> Result<OwnedFd, RuntimeError> {
    let failed = |error: Errno| RuntimeError::path("make mount point", path)(error);
    // The kernel's file systems must lie where the paths to be masked are looked for.
    let links = if own {
        ResolveFlags::NO_SYMLINKS
    } else {
        ResolveFlags::empty()
    };
    match root.open_place(path, links) {
        Err(Errno::NOENT) => {}
        result => return result.map_err(failed),
    }
    let resolved = root.resolve(path)?;
    let kind = FileType::from_raw_mode(fs::fstat(mount).map_err(failed)?.st_mode);
    if kind == FileType::Directory {
        root.make(&resolved)?;
    } else {
        root.make_file(&resolved)?;
    }
    root.open_place(path, links).map_err(failed)
}

/// Returns its null.
fn fill_dev(dev: &OwnedFd, core: bool) -> rustix::io::Result<OwnedFd> {
    let mode = Mode::from_raw_mode(0o666);
    for &(name, major, minor) in DEVICES {
        if in_user_namespace() {
            bind_node(dev, Path::new(name), &Path::new("/dev").join(name))?;
            continue;
        }
        let number: Dev = fs::makedev(major, minor);
        fs::mknodat(dev, name, FileType::CharacterDevice, mode, number)?;
    }
    for (name, target) in LINKS.iter().filter(|(name, _)| core || *name != "core") {
        fs::symlinkat(*target, dev, *name)?;
    }
    fs::openat(dev, "null", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

/// A node of the host's under a name in `folder`: for those who may make none.
fn bind_node(folder: &OwnedFd, name: &Path, node: &Path) -> rustix::io::Result<()> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, node, flags)?;
    let new = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    drop(fs::openat(folder, name, new, Mode::from_raw_mode(0o666))?);
    move_mount(&tree, "", folder, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

const SHARED_MEMORY: &str = "/dev/shm";

/// A copy of the /dev/shm of another container.
fn shared_memory(mounts: &OwnedFd) -> Result<OwnedFd, RuntimeError> {
    let open = |path: &str| fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let made = || -> rustix::io::Result<OwnedFd> {
        let own = open("/proc/self/ns/mnt")?;
        move_into_link_name_space(mounts.as_fd(), Some(LinkNameSpaceType::Mount))?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let made = open_tree(CWD, SHARED_MEMORY, flags);
        move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::Mount))?;
        made
    };
    made().map_err(RuntimeError::path("share", Path::new(SHARED_MEMORY)))
}

/// A node that was asked for, in place of one that is there.
fn make_device(root: &Root, device: &LinuxDevice) -> Result<(), RuntimeError> {
    let path = device.path().as_path();
    let failed = |error: Errno| RuntimeError::path("make device", path)(error);
    let resolved = root.resolve(path.parent().unwrap_or(path))?;
    root.make(&resolved)?;
    let folder = root.open_exactly(&resolved.target(), OFlags::PATH | OFlags::DIRECTORY);
    let folder = folder.map_err(failed)?;
    let name = path.file_name().ok_or_else(|| failed(Errno::INVAL))?;
    let kind = match device.typ() {
        LinuxDeviceType::B => FileType::BlockDevice,
        _ => FileType::CharacterDevice,
    };
    if in_user_namespace() {
        let node = node_of(kind == FileType::BlockDevice, device.major(), device.minor());
        let node = node.ok_or_else(|| failed(Errno::NOENT))?;
        return bind_node(&folder, Path::new(name), &node).map_err(failed);
    }
    let number = |number: i64| u32::try_from(number).unwrap_or(0);
    let number = fs::makedev(number(device.major()), number(device.minor()));
    let mode = Mode::from_raw_mode(device.file_mode().unwrap_or(0o666));
    let make = || fs::mknodat(&folder, name, kind, mode, number);
    match make() {
        Err(Errno::EXIST) => fs::unlinkat(&folder, name, AtFlags::empty()).and_then(|()| make()),
        result => result,
    }
    .map_err(failed)?;
    let (uid, gid) = (device.uid().unwrap_or(0), device.gid().unwrap_or(0));
    let (uid, gid) = (fs::Uid::from_raw(uid), fs::Gid::from_raw(gid));
    fs::chownat(&folder, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).map_err(failed)
}

/// By the descriptor of the new /proc: whatever the image has at that path, this is the kernel's.
fn write_sysctls(proc: Option<&OwnedFd>, linux: &Linux) -> Result<(), RuntimeError> {
    for (name, value) in linux.sysctl().iter().flatten() {
        let proc = proc.ok_or(RuntimeError::Misuse("kernel parameters need /proc"))?;
        let path = Path::new("sys").join(name.replace('.', "/"));
        let failed = |error: io::Error| RuntimeError::path("write kernel parameter", &path)(error);
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
        let file = fs::openat2(
            proc,
            &path,
            OFlags::WRONLY | OFlags::CLOEXEC,
            Mode::empty(),
            resolve,
        );
        let mut file = File::from(file.map_err(|error| failed(error.into()))?);
        file.write_all(value.as_bytes()).map_err(failed)?;
    }
    Ok(())
}

/// What is laid over a path that must not be seen.
struct Covers {
    null: OwnedFd,
    /// An empty directory, once it is mounted somewhere: before 6.15 the kernel copies nothing else.
    empty: Option<OwnedFd>,
}

impl Covers {
    /// While the host's files can still be seen: a container may have a /dev of its user's.
    fn new() -> Result<Self, RuntimeError> {
        let path = Path::new("/dev/null");
        let null = fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        Ok(Self {
            null: null.map_err(RuntimeError::path("open", path))?,
            empty: None,
        })
    }

    fn mask(&mut self, root: &Root, path: &str) -> Result<(), RuntimeError> {
        let path = Path::new(path);
        let failed = |error: Errno| RuntimeError::path("mask", path)(error);
        let target = match root.open_place(path, ResolveFlags::empty()) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            result => result.map_err(failed)?,
        };
        let kind = FileType::from_raw_mode(fs::fstat(&target).map_err(failed)?.st_mode);
        let cover = if kind != FileType::Directory {
            copy(&self.null, false)
        } else if let Some(empty) = &self.empty {
            copy(empty, false)
        } else {
            let options = ["ro", "nosuid", "nodev", "noexec", "nr_inodes=1"];
            file_system("tmpfs", Path::new("tmpfs"), &options.map(str::to_owned))
        };
        let cover = cover.map_err(failed)?;
        lay(&cover, &target).map_err(failed)?;
        if kind == FileType::Directory {
            self.empty.get_or_insert(cover);
        }
        Ok(())
    }
}

fn make_read_only(root: &Root, path: &str) -> Result<(), RuntimeError> {
    let path = Path::new(path);
    let failed = |error: Errno| RuntimeError::path("make read-only", path)(error);
    let target = match root.open_place(path, ResolveFlags::empty()) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        result => result.map_err(failed)?,
    };
    let made = copy(&target, true).map_err(failed)?;
    set_attributes(&made, MountAttributes::READ_ONLY, 0, true, path)?;
    lay(&made, &target).map_err(failed)
}

fn copy(tree: &OwnedFd, recursive: bool) -> rustix::io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags |= OpenTreeFlags::from_bits_retain(AtFlags::EMPTY_PATH.bits());
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    open_tree(tree, "", flags)
}

fn lay(mount: &OwnedFd, target: &OwnedFd) -> rustix::io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", target, "", flags)
}
