//! The layer of a container that may be running, as it can be read by paths.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use plimsoll_linux::{MountAttributes, mount_setattr};
use plimsoll_runtime::copy_of_source;

use crate::{ContainerError, Result};

/// A view of a directory in which no link is followed and no device opened: whoever changes it while it is read has us
/// read nothing else.
pub struct View {
    path: PathBuf,
    _mount: Option<OwnedFd>,
}

impl View {
    /// Makes one of the directory `path`. Before Linux 5.14, which has the attribute, it is the directory itself.
    pub(super) fn of(path: &Path) -> Result<Self> {
        let failed = ContainerError::file("look at", path);
        let mount = copy_of_source(path, None, false).map_err(|error| failed(error.into()))?;
        let attributes = MountAttributes {
            set: MountAttributes::NO_LINKS | MountAttributes::NO_DEVICES,
            ..MountAttributes::default()
        };
        if mount_setattr(mount.as_fd(), attributes).is_err() {
            return Ok(Self {
                path: path.to_owned(),
                _mount: None,
            });
        }
        Ok(Self {
            path: PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd())),
            _mount: Some(mount),
        })
    }

    /// Good for as long as the view is there.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_seen_and_not_followed() {
        if !rustix::process::geteuid().is_root() {
            return eprintln!("skipped: needs root");
        }
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("folder")).unwrap();
        std::fs::write(at("folder/file"), "own").unwrap();
        symlink("folder", at("link")).unwrap();
        symlink("/etc", at("away")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            at("null"),
            rustix::fs::FileType::CharacterDevice,
            rustix::fs::Mode::from_raw_mode(0o666),
            rustix::fs::makedev(1, 3),
        )
        .unwrap();
        let view = View::of(folder.path()).unwrap();
        let read = |name: &str| std::fs::read_to_string(view.path().join(name));
        assert_eq!(read("folder/file").unwrap(), "own");
        for name in ["link/file", "away/passwd"] {
            let loops = rustix::io::Errno::LOOP.raw_os_error();
            assert_eq!(read(name).unwrap_err().raw_os_error(), Some(loops), "{name}");
        }
        assert!(read("null").is_err());
        assert_eq!(
            std::fs::read_link(view.path().join("away")).unwrap(),
            Path::new("/etc")
        );
    }
}
