//! Mount points a build step must not leave in its layer.
//!
//! A mount needs something to lie on: where the image has no /proc or /etc/hosts, the runtime makes an empty directory
//! or file. Such a *stub*, and the copy of the directory it was made in, would end up in the layer. So what is missing
//! is written down before, and taken away after, unless the step itself put something there.

use crate::RuntimeError;
use crate::container_spec::ContainerSpec;
use crate::root::Root;
use crate::rootfs::{Rootfs, below_a_mount};
use crate::spec::mounts;
use rustix::fs::{self, AtFlags, FileType, OFlags};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What a run is going to cause.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Stubs {
    /// Paths that do not exist yet, relative to the root.
    missing: BTreeSet<PathBuf>,
    /// Directories that only lower layers have, in which something of the above will be made.
    copied_up: BTreeSet<PathBuf>,
}

impl Stubs {
    /// Looks at the mounted root before anything is made in it.
    pub(crate) fn survey(root: &Root, rootfs: &Rootfs, spec: &ContainerSpec) -> Result<Self, RuntimeError> {
        let upper = Root::open(&rootfs.upper)?;
        let mut stubs = Self::default();
        let targets = mounts::targets(spec);
        for target in &targets {
            let nested = targets
                .iter()
                .any(|other| other != target && target.starts_with(other));
            let own = ["/proc", "/sys", "/dev"]
                .iter()
                .any(|path| target == Path::new(path));
            if nested || (below_a_mount(target) && !own) {
                continue;
            }
            let found = root.resolve(target)?;
            let mut path = found.existing.clone();
            for step in &found.missing {
                path.push(step);
                stubs.missing.insert(path.clone());
            }
            if !found.missing.is_empty() {
                let parents = found
                    .existing
                    .ancestors()
                    .filter(|parent| !parent.as_os_str().is_empty());
                let untouched = parents.filter(|parent| upper.open_exactly(parent, OFlags::PATH).is_err());
                stubs.copied_up.extend(untouched.map(Path::to_owned));
            }
        }
        Ok(stubs)
    }

    /// Takes the stubs out of the root, which is still mounted, so that overlay keeps its own books. Directories in
    /// which the step made something stay.
    pub(crate) fn remove(&self, root: &Root) -> Result<(), RuntimeError> {
        for path in self.missing.iter().rev() {
            let Some((parent, name)) = open_parent(root, path) else {
                continue;
            };
            let Ok(stat) = fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            let removed = match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => fs::unlinkat(&parent, name, AtFlags::REMOVEDIR),
                FileType::RegularFile if stat.st_size == 0 => fs::unlinkat(&parent, name, AtFlags::empty()),
                _ => Ok(()),
            };
            match removed {
                Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => {}
                Err(error) => return Err(failed(path)(error)),
            }
        }
        Ok(())
    }

    /// After unmounting: takes away directories of the upper layer that are nothing but copies of lower ones.
    pub(crate) fn remove_copies(&self, rootfs: &Rootfs) -> Result<(), RuntimeError> {
        let upper = Root::open(&rootfs.upper)?;
        let lowers: Vec<Root> = rootfs
            .lowers
            .iter()
            .map(|lower| Root::open(lower))
            .collect::<Result<_, _>>()?;
        for path in self.copied_up.iter().rev() {
            let Some(copy) = Facts::of(&upper, path) else {
                continue;
            };
            let original = lowers.iter().find_map(|lower| Facts::of(lower, path));
            if original.as_ref() != Some(&copy) {
                continue;
            }
            let Some((parent, name)) = open_parent(&upper, path) else {
                continue;
            };
            match fs::unlinkat(&parent, name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => {}
                Err(error) => return Err(failed(path)(error)),
            }
        }
        Ok(())
    }
}

/// What makes two directories the same in a layer, times left out.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    mode: u32,
    owner: (u32, u32),
    attributes: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Facts {
    /// None where there is no directory of this path.
    fn of(root: &Root, path: &Path) -> Option<Self> {
        let fd = root
            .open_exactly(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW)
            .ok()?;
        let stat = fs::fstat(&fd).ok()?;
        Some(Self {
            mode: stat.st_mode,
            owner: (stat.st_uid, stat.st_gid),
            attributes: attributes(&fd),
        })
    }
}

fn attributes(fd: &OwnedFd) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0_u8; 64 << 10];
    let length = fs::flistxattr(fd, names.as_mut_slice()).unwrap_or(0);
    let names = names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty());
    let own = |name: &&[u8]| name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.");
    names
        .filter(|name| !own(name) || name.ends_with(b".opaque"))
        .map(|name| {
            let mut value = vec![0_u8; 64 << 10];
            let length = fs::fgetxattr(fd.as_fd(), name, value.as_mut_slice()).unwrap_or(0);
            value.truncate(length);
            (name.to_vec(), value)
        })
        .collect()
}

fn open_parent<'a>(root: &Root, path: &'a Path) -> Option<(OwnedFd, &'a Path)> {
    let parent = path.parent()?;
    let name = Path::new(path.file_name()?);
    Some((
        root.open_exactly(parent, OFlags::PATH | OFlags::DIRECTORY).ok()?,
        name,
    ))
}

fn failed(path: &Path) -> impl FnOnce(Errno) -> RuntimeError {
    RuntimeError::path("remove mount point", path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container_spec::{Mount, MountKind};
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn spec(targets: &[&str]) -> ContainerSpec {
        let mount = |target: &&str| Mount {
            kind: MountKind::Bind,
            source: "/etc/hosts".into(),
            target: target.into(),
            read_only: false,
            options: Vec::new(),
        };
        ContainerSpec {
            mounts: targets.iter().map(mount).collect(),
            ..ContainerSpec::default()
        }
    }

    fn folders(paths: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for path in paths {
            std::fs::create_dir_all(folder.path().join(path)).unwrap();
        }
        folder
    }

    fn paths(names: &[&str]) -> BTreeSet<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn what_is_missing_is_found_through_links() {
        // Stands for the merged root: surveying only reads.
        let merged = folders(&["etc", "usr/run", "proc"]);
        symlink("usr/run", merged.path().join("run")).unwrap();
        symlink("../run/resolv.conf", merged.path().join("etc/resolv.conf")).unwrap();
        let upper = folders(&["usr"]);
        let rootfs = Rootfs {
            lowers: vec![],
            upper: upper.path().into(),
            work: "/w".into(),
        };
        let root = Root::open(merged.path()).unwrap();
        let wanted = spec(&[
            "/etc/hosts",
            "/etc/resolv.conf",
            "/run/secrets/a",
            "/dev/shm",
            "/data/x",
            "/data",
        ]);
        let stubs = Stubs::survey(&root, &rootfs, &wanted).unwrap();
        let missing = [
            "data",
            "dev",
            "etc/hosts",
            "sys",
            "usr/run/resolv.conf",
            "usr/run/secrets",
            "usr/run/secrets/a",
        ];
        assert_eq!(stubs.missing, paths(&missing));
        assert_eq!(stubs.copied_up, paths(&["etc", "usr/run"]));
    }

    #[test]
    fn stubs_go_and_what_the_step_made_stays() {
        let root = folders(&["etc", "proc", "data/sub", "mine"]);
        std::fs::write(root.path().join("etc/hosts"), "").unwrap();
        std::fs::write(root.path().join("etc/foo"), "kept").unwrap();
        std::fs::write(root.path().join("mine/full"), "kept").unwrap();
        symlink("/etc", root.path().join("link")).unwrap();
        let missing = [
            "etc",
            "etc/hosts",
            "proc",
            "data",
            "data/sub",
            "mine/full",
            "link/hosts",
            "gone/x",
        ];
        let stubs = Stubs {
            missing: paths(&missing),
            copied_up: BTreeSet::new(),
        };
        stubs.remove(&Root::open(root.path()).unwrap()).unwrap();
        let left = |path: &str| root.path().join(path).exists();
        assert!(!left("etc/hosts") && !left("proc") && !left("data"));
        assert!(left("etc/foo") && left("mine/full") && left("link"));
    }

    #[test]
    fn copies_of_lower_directories_go_when_nothing_changed() {
        let lower = folders(&["etc/inner", "var", "opt", "srv"]);
        let upper = folders(&["etc/inner", "var", "opt", "srv"]);
        std::fs::write(upper.path().join("opt/file"), "").unwrap();
        let wide = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(upper.path().join("var"), wide).unwrap();
        let rootfs = Rootfs {
            lowers: vec![lower.path().into()],
            upper: upper.path().into(),
            work: "/w".into(),
        };
        let copied_up = paths(&["etc", "etc/inner", "var", "opt", "srv", "only-lower"]);
        Stubs {
            missing: BTreeSet::new(),
            copied_up,
        }
        .remove_copies(&rootfs)
        .unwrap();
        let left = |path: &str| upper.path().join(path).exists();
        assert!(!left("etc") && !left("srv"));
        assert!(left("var") && left("opt/file"));
    }
}
