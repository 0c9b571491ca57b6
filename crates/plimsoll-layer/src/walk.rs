//! Walking an overlay upper directory in the order of its archive.

use std::path::Path;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, Stat};

use crate::attributes::{is_opaque, path_in};
use crate::error::{At as _, Result, refused};
use crate::resolve::{is_whiteout, kind, names};
use crate::{OPAQUE, WHITEOUT};

/// One entry of an archive to be.
pub(crate) struct Found<'a> {
    /// Its name there: a directory's ends in a slash, a deletion's is `.wh.NAME`.
    pub(crate) path: &'a [u8],
    /// The open directory it is in, and its name in that.
    pub(crate) parent: &'a OwnedFd,
    pub(crate) name: &'a [u8],
    /// None for a deletion or an opaque mark.
    pub(crate) stat: Option<&'a Stat>,
}

/// What visits each entry.
pub(crate) type Visit<'a> = dyn FnMut(&Found<'_>) -> Result<()> + 'a;

/// Visits everything below `upper` but sockets, sorted by path bytes, so that directories come before what is in them.
pub(crate) fn walk(upper: &Path, visit: &mut Visit<'_>) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let name = upper.as_os_str().as_encoded_bytes();
    let root = rustix::fs::open(upper, flags, Mode::empty()).at("open", name)?;
    walk_in(&root, &mut Vec::new(), visit)
}

/// An entry as it will be called, as it is called, and what it is.
struct Child {
    archived: Vec<u8>,
    name: Vec<u8>,
    stat: Option<Stat>,
}

fn walk_in(directory: &OwnedFd, path: &mut Vec<u8>, visit: &mut Visit<'_>) -> Result<()> {
    let length = path.len();
    for child in children(directory, path)? {
        path.extend_from_slice(&child.archived);
        visit(&Found {
            path,
            parent: directory,
            name: &child.name,
            stat: child.stat.as_ref(),
        })?;
        if child.stat.is_some_and(|stat| kind(&stat) == FileType::Directory) {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let inside =
                rustix::fs::openat(directory, &child.name[..], flags, Mode::empty()).at("open", path)?;
            walk_in(&inside, path, visit)?;
        }
        path.truncate(length);
    }
    Ok(())
}

/// Sorted by archived name. With the slash after directories that is the order of the whole paths' bytes as well.
fn children(directory: &OwnedFd, path: &[u8]) -> Result<Vec<Child>> {
    let mut children = Vec::new();
    for name in names(directory).at("read", path)? {
        let at = || [path, &name[..]].concat();
        let stat = rustix::fs::statat(directory, &name[..], rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
            .at("examine", &at())?;
        if name.starts_with(WHITEOUT) {
            return Err(refused(&at(), "in a layer its name would mean a deletion"));
        }
        let child = match kind(&stat) {
            FileType::Socket => continue,
            FileType::Directory => Child {
                archived: [&name[..], b"/"].concat(),
                name,
                stat: Some(stat),
            },
            _ if is_whiteout(&stat) => Child {
                archived: [WHITEOUT, &name[..]].concat(),
                name,
                stat: None,
            },
            _ => Child {
                archived: name.clone(),
                name,
                stat: Some(stat),
            },
        };
        children.push(child);
    }
    if is_opaque(&path_in(directory.as_fd(), b".")).at("read the attributes of", path)? {
        children.push(Child {
            archived: OPAQUE.to_vec(),
            name: OPAQUE.to_vec(),
            stat: None,
        });
    }
    children.sort_by(|a, b| a.archived.cmp(&b.archived));
    Ok(children)
}
