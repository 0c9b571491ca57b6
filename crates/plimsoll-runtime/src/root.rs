//! Paths inside a container's root, never outside of it.
//!
//! Links in an image are the image's business: an absolute one begins at the image's root, `..` ends there. Nothing is
//! opened by a joined string; every step starts from the descriptor of the root (openat2(2), RESOLVE_IN_ROOT).

use crate::RuntimeError;
use rustix::fs::{self, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

/// The kernel's own bound on links in a path.
const MAX_LINKS: usize = 40;

/// A root file system, by descriptor.
pub struct Root {
    fd: OwnedFd,
    path: PathBuf,
}

/// Where a path leads, as far as it exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The part that exists, without links, relative to the root; empty is the root itself.
    pub existing: PathBuf,
    /// What would have to be made.
    pub missing: Vec<OsString>,
}

impl Resolved {
    /// The whole path, absolute in the container.
    pub fn target(&self) -> PathBuf {
        let mut path = Path::new("/").join(&self.existing);
        path.extend(&self.missing);
        path
    }
}

impl Root {
    /// Opens the root at `path`.
    pub fn open(path: &Path) -> Result<Self, RuntimeError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = fs::open(path, flags, Mode::empty()).map_err(RuntimeError::path("open", path))?;
        Ok(Self {
            fd,
            path: path.to_owned(),
        })
    }

    /// A root that is mounted nowhere; `name` is for errors.
    pub(crate) fn detached(fd: OwnedFd, name: &Path) -> Self {
        Self {
            fd,
            path: name.to_owned(),
        }
    }

    /// Opens a path, as a place only, following the links it has as a process in the container would. The magic ones
    /// of /proc lead out, and are refused.
    pub fn open_place(&self, path: &Path, resolve: ResolveFlags) -> rustix::io::Result<OwnedFd> {
        let resolve = resolve | ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        fs::openat2(
            &self.fd,
            path,
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
            resolve,
        )
    }

    /// Opens a path without links in it.
    pub fn open_exactly(&self, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        fs::openat2(&self.fd, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
    }

    /// The text of a plain file of at most `limit` bytes; None when there is none.
    pub(crate) fn read(&self, path: &str, limit: u64) -> Result<Option<String>, RuntimeError> {
        let failed = |source: std::io::Error| RuntimeError::Path {
            operation: "read",
            path: self.path.join(path),
            source,
        };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let place = match fs::openat2(&self.fd, path, flags, Mode::empty(), resolve) {
            Ok(place) => place,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            Err(error) => return Err(failed(error.into())),
        };
        // Known before it is opened: a named pipe would hold us for ever, and opening a device acts.
        let stat = fs::fstat(&place).map_err(|error| failed(error.into()))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(failed(std::io::Error::other("not a regular file")));
        }
        let mut bytes = Vec::new();
        File::open(format!("/proc/self/fd/{}", place.as_raw_fd()))
            .map_err(failed)?
            .take(limit + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        if bytes.len() as u64 > limit {
            return Err(failed(std::io::Error::other(format!(
                "larger than {limit} bytes"
            ))));
        }
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Follows `path` as a process in the container would, and says where existence ends. A link that leads nowhere
    /// leads to the missing file it names.
    pub fn resolve(&self, path: &Path) -> Result<Resolved, RuntimeError> {
        let failed = |error: Errno| RuntimeError::Path {
            operation: "resolve",
            path: self.path.join(path.strip_prefix("/").unwrap_or(path)),
            source: error.into(),
        };
        let mut rest: VecDeque<OsString> = steps(path);
        let mut existing = PathBuf::new();
        let mut links = 0;
        while let Some(step) = rest.pop_front() {
            if step == ".." {
                existing.pop();
                continue;
            }
            let next = existing.join(&step);
            let fd = match self.open_exactly(&next, OFlags::PATH | OFlags::NOFOLLOW) {
                Ok(fd) => fd,
                Err(Errno::NOENT) => {
                    return Ok(Resolved {
                        existing,
                        missing: lexically(step, rest),
                    });
                }
                Err(error) => return Err(failed(error)),
            };
            let stat = fs::fstat(&fd).map_err(failed)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
                existing = next;
                continue;
            }
            links += 1;
            if links > MAX_LINKS {
                return Err(failed(Errno::LOOP));
            }
            let link = fs::readlinkat(&fd, "", Vec::new()).map_err(failed)?;
            let link = PathBuf::from(OsString::from_vec(link.into_bytes()));
            if link.is_absolute() {
                existing.clear();
            }
            for step in steps(&link).into_iter().rev() {
                rest.push_front(step);
            }
        }
        Ok(Resolved {
            existing,
            missing: Vec::new(),
        })
    }

    /// Makes what is missing of a directory, as root's, mode 0755.
    pub fn make(&self, resolved: &Resolved) -> Result<(), RuntimeError> {
        let failed = |error: Errno| RuntimeError::Path {
            operation: "make",
            path: self
                .path
                .join(resolved.target().strip_prefix("/").expect("absolute")),
            source: error.into(),
        };
        let mut path = resolved.existing.clone();
        for step in &resolved.missing {
            let parent = self
                .open_exactly(&path, OFlags::PATH | OFlags::DIRECTORY)
                .map_err(failed)?;
            match fs::mkdirat(&parent, step, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(failed(error)),
            }
            path.push(step);
        }
        Ok(())
    }

    /// Makes what is missing of a file: the directories it is in, and the file itself, empty.
    pub fn make_file(&self, resolved: &Resolved) -> Result<(), RuntimeError> {
        let Some((name, folders)) = resolved.missing.split_last() else {
            return Ok(());
        };
        let folder = Resolved {
            existing: resolved.existing.clone(),
            missing: folders.to_vec(),
        };
        self.make(&folder)?;
        let target = resolved.target();
        let failed = |error: Errno| RuntimeError::path("make", &target)(error);
        let mut path = folder.existing;
        path.extend(folder.missing);
        let parent = self
            .open_exactly(&path, OFlags::PATH | OFlags::DIRECTORY)
            .map_err(failed)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        match fs::openat(&parent, name, flags, Mode::from_raw_mode(0o644)) {
            Ok(_) | Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn steps(path: &Path) -> VecDeque<OsString> {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    parts.collect()
}

/// What is below a missing directory holds no links, so `..` is what it says.
fn lexically(first: OsString, rest: VecDeque<OsString>) -> Vec<OsString> {
    let mut names = vec![first];
    for step in rest {
        if step == ".." {
            names.pop();
        } else {
            names.push(step);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn tree() -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        std::fs::create_dir_all(at("etc/app")).unwrap();
        std::fs::create_dir_all(at("run")).unwrap();
        std::fs::write(at("etc/hosts"), "x").unwrap();
        symlink("../run/resolv.conf", at("etc/resolv.conf")).unwrap();
        symlink("/etc", at("absolute")).unwrap();
        symlink("../../../../etc", at("escape")).unwrap();
        symlink("loop", at("loop")).unwrap();
        let root = Root::open(folder.path()).unwrap();
        (folder, root)
    }

    #[test]
    fn links_stay_inside_and_missing_ends_are_named() {
        let (_folder, root) = tree();
        let table = [
            ("/etc/hosts", "etc/hosts", ""),
            ("/etc/none", "etc", "none"),
            ("/etc/resolv.conf", "run", "resolv.conf"),
            ("/absolute/hosts", "etc/hosts", ""),
            ("/escape/app", "etc/app", ""),
            ("/../../etc", "etc", ""),
            ("/a/b/../c", "", "a/c"),
            ("/", "", ""),
        ];
        for (path, existing, missing) in table {
            let found = root.resolve(Path::new(path)).unwrap();
            let missing: Vec<OsString> = missing
                .split('/')
                .filter(|s| !s.is_empty())
                .map(Into::into)
                .collect();
            assert_eq!(
                found,
                Resolved {
                    existing: existing.into(),
                    missing
                },
                "{path}"
            );
        }
        assert!(root.resolve(Path::new("/loop/x")).is_err());
        assert!(root.resolve(Path::new("/etc/hosts/x")).is_err());
    }

    #[test]
    fn directories_are_made_inside() {
        let (folder, root) = tree();
        let wanted = root.resolve(Path::new("/escape/app/deep/er")).unwrap();
        assert_eq!(wanted.target(), Path::new("/etc/app/deep/er"));
        root.make(&wanted).unwrap();
        assert!(folder.path().join("etc/app/deep/er").is_dir());
    }

    #[test]
    fn hostile_files_do_not_hold_or_fill_us() {
        let (folder, root) = tree();
        let at = |path: &str| folder.path().join(path);
        assert_eq!(root.read("etc/hosts", 10).unwrap().as_deref(), Some("x"));
        assert_eq!(root.read("etc/none", 10).unwrap(), None);
        symlink("/etc/hosts", at("etc/passwd")).unwrap();
        assert_eq!(root.read("etc/passwd", 10).unwrap().as_deref(), Some("x"));
        rustix::fs::mknodat(
            rustix::fs::CWD,
            at("pipe"),
            FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        assert!(
            root.read("pipe", 10)
                .unwrap_err()
                .chain()
                .contains("not a regular file")
        );
        std::fs::write(at("big"), [b'a'; 11]).unwrap();
        assert!(root.read("big", 10).unwrap_err().chain().contains("larger than"));
    }
}
