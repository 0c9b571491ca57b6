//! What files hold, as far as a cache key is concerned.
//!
//! Two digests: the *content* of a file is what stat(2) does not tell (bytes, link target, extended attributes). It is
//! BLAKE3, several times as fast as SHA-256, for it is only ever compared with what this program made, and every byte
//! of the context goes through it before the copy. The digest of a COPY adds names, kinds, modes and owners as they
//! will be in the layer. No times.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Mutex;
use std::time::SystemTime;

use plimsoll_oci::{Digest, Hasher};

use super::select::{Item, Source};
use crate::context::{Content, ContextIndex};
use crate::error::OpError;
use crate::explain::lists::Listed;
use crate::op::writer::{Change, open_file};
use crate::parallel::drain;

/// Tells files with extended attributes from all others.
const WITH_XATTRS: &str = "plimsoll 2026 file with extended attributes";

/// Fills in the content of every item; what the context's index knows is not read. `looked` is when the walk began.
pub(super) fn fill(
    sources: &mut [Source],
    index: Option<&ContextIndex>,
    looked: SystemTime,
) -> Result<(), OpError> {
    let mut unknown = Vec::new();
    for source in sources.iter_mut() {
        let root = source.root.strip_prefix("/").unwrap_or(&source.root);
        for item in &mut source.items {
            match index.and_then(|index| index.get(&root.join(&item.below), &item.stat)) {
                Some(content) => item.content = content,
                None => unknown.push((root, item)),
            }
        }
    }
    // Largest last: tasks are taken from the end, so that no thread is left alone with the largest file.
    unknown.sort_by_key(|(_, item)| item.stat.size);
    let read = Mutex::new(Vec::with_capacity(unknown.len()));
    drain(unknown, |(root, item), _| {
        item.content = content(item)?;
        let known = (root.join(&item.below), item.stat, item.content);
        read.lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push(known);
        Ok::<_, OpError>(())
    })?;
    if let Some(index) = index {
        let read = read
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let read = read
            .iter()
            .map(|(path, stat, content)| (path.as_path(), *stat, *content));
        index.remember(read, looked);
    }
    Ok(())
}

/// Digest of all that would be copied, as it would be in the layer.
pub(super) fn digest(sources: &[Source], change: &Change) -> Digest {
    let mut hasher = Hasher::new();
    for source in sources {
        hasher.field(source.name.as_os_str().as_bytes());
        hasher.field((source.items.len() as u64).to_le_bytes());
        for item in &source.items {
            hasher.field(item.below.as_os_str().as_bytes());
            hasher.field(item.stat.kind().to_le_bytes());
            hasher.field(item.content);
            // The directory that was named gives its contents, not itself.
            if item.below.as_os_str().is_empty() && item.stat.is_directory() {
                continue;
            }
            let owner = change.owner_of(&item.stat);
            let mode = if item.stat.is_symlink() {
                0
            } else {
                change.mode_of(&item.stat)
            };
            for number in [mode, owner.uid, owner.gid] {
                hasher.field(number.to_le_bytes());
            }
        }
    }
    hasher.finish()
}

/// What [`digest`] is made of, file by file. Paths are as instructions name them: from the root of a context without a
/// slash, with one in the files of a stage.
pub(super) fn list(sources: &[Source], change: &Change, rooted: bool) -> Vec<Listed> {
    let mut list = Vec::with_capacity(sources.iter().map(|source| source.items.len()).sum());
    for source in sources {
        let root = match rooted {
            true => source.root.as_path(),
            false => source.root.strip_prefix("/").unwrap_or(&source.root),
        };
        for item in &source.items {
            let named_directory = item.below.as_os_str().is_empty() && item.stat.is_directory();
            let path = match item.below.as_os_str().is_empty() {
                true => root.to_owned(),
                false => root.join(&item.below),
            };
            let owner = change.owner_of(&item.stat);
            let mode = match item.stat.is_symlink() || named_directory {
                true => 0,
                false => change.mode_of(&item.stat) & 0o7777,
            };
            list.push(Listed {
                path: path.to_string_lossy().into_owned(),
                mode: item.stat.kind() | mode,
                uid: if named_directory { 0 } else { owner.uid },
                gid: if named_directory { 0 } else { owner.gid },
                content: item.content,
            });
        }
    }
    list
}

/// Of a file without extended attributes what b3sum(1) says, so that people can compare.
fn content(item: &Item) -> Result<Content, OpError> {
    let mut hasher = blake3::Hasher::new();
    let host = &item.host;
    if item.stat.is_symlink() {
        let target = std::fs::read_link(host).map_err(OpError::io("read the link", host))?;
        hasher.update(target.as_os_str().as_bytes());
    } else if item.stat.is_file() {
        hasher
            .update_reader(open_file(host)?)
            .map_err(OpError::io("read", host))?;
    } else if !item.stat.is_directory() {
        hasher.update(&item.stat.rdev.to_le_bytes());
    }
    let bytes = *hasher.finalize().as_bytes();
    let xattrs = xattrs(host)?;
    if xattrs.is_empty() {
        return Ok(bytes);
    }
    let mut hasher = blake3::Hasher::new_derive_key(WITH_XATTRS);
    hasher.update(&bytes);
    for field in xattrs.iter().flat_map(|(name, value)| [name.as_bytes(), value]) {
        hasher.update(&(field.len() as u64).to_le_bytes());
        hasher.update(field);
    }
    Ok(*hasher.finalize().as_bytes())
}

fn xattrs(host: &Path) -> Result<Vec<(std::ffi::OsString, Vec<u8>)>, OpError> {
    plimsoll_layer::xattrs(host).map_err(OpError::io("read the attributes of", host))
}
