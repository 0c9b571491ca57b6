//! Looking into the layers below: for the metadata of directories an archive only implies, and the targets of hard
//! links to files it does not have.

use std::fs::File;
use std::path::PathBuf;

use rustix::fd::OwnedFd;
use rustix::fs::{FileType, OFlags, Stat};
use rustix::io::Errno;

use crate::attributes::{followed_xattrs, is_opaque, path_in};
use crate::error::{At as _, Result, refused};
use crate::resolve::{is_whiteout, kind, open_in, split};

/// The layers below, top first, opened when first needed.
pub(crate) struct Lowers<'a> {
    paths: &'a [PathBuf],
    open: Vec<OwnedFd>,
}

/// An entry of a lower layer.
pub(crate) struct Lower {
    pub(crate) fd: OwnedFd,
    pub(crate) stat: Stat,
}

impl<'a> Lowers<'a> {
    pub(crate) fn new(paths: &'a [PathBuf]) -> Self {
        Self {
            paths,
            open: Vec::new(),
        }
    }

    /// Finds the topmost entry at `path`, unless a layer above it deletes it.
    pub(crate) fn find(&mut self, path: &[u8]) -> Result<Option<Lower>> {
        for root in self.roots()? {
            match open_in(root, path, OFlags::PATH | OFlags::NOFOLLOW) {
                Ok(fd) => {
                    let stat = rustix::fs::fstat(&fd).at("examine", path)?;
                    return Ok((!is_whiteout(&stat)).then_some(Lower { fd, stat }));
                }
                // A directory on the way is deleted or replaced here.
                Err(Errno::NOTDIR) => return Ok(None),
                Err(Errno::NOENT) if hides(root, path)? => return Ok(None),
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error).at("look up", path),
            }
        }
        Ok(None)
    }

    /// Returns every layer's root directory, top first.
    pub(crate) fn roots(&mut self) -> Result<&[OwnedFd]> {
        for path in &self.paths[self.open.len()..] {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let name = path.as_os_str().as_encoded_bytes();
            self.open
                .push(rustix::fs::open(path, flags, rustix::fs::Mode::empty()).at("open", name)?);
        }
        Ok(&self.open)
    }
}

impl Lower {
    /// Opens a regular file's content.
    pub(crate) fn content(&self, path: &[u8]) -> Result<File> {
        if kind(&self.stat) != FileType::RegularFile {
            return Err(refused(
                path,
                "it is a hard link to something other than a file of a layer below",
            ));
        }
        // Through our own descriptor: the entry that was examined, whatever its name means by now.
        File::open(path_in(&self.fd, b"")).at("open", path)
    }

    pub(crate) fn xattrs(&self, path: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let found = followed_xattrs(&path_in(&self.fd, b"")).at("read the attributes of", path)?;
        Ok(found
            .into_iter()
            .map(|(name, value)| (name.into_encoded_bytes(), value))
            .collect())
    }
}

/// Returns whether a layer has a directory above `path` that hides what is below the layer.
fn hides(root: &OwnedFd, path: &[u8]) -> Result<bool> {
    let mut above = split(path).0;
    while !above.is_empty() {
        let directory = open_in(root, above, OFlags::PATH | OFlags::DIRECTORY);
        if let Ok(directory) = directory
            && is_opaque(&path_in(&directory, b".")).at("read the attributes of", above)?
        {
            return Ok(true);
        }
        above = split(above).0;
    }
    Ok(false)
}
