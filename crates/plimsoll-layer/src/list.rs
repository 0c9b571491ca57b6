//! What an upper directory has, without reading it.

use std::collections::HashSet;
use std::path::Path;

use rustix::fs::{FileType, Stat};

use crate::error::Result;
use crate::resolve::kind;
use crate::walk::{Found, walk};
use crate::{LayerError, OPAQUE};

/// One name in a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its path in the image, without slashes at the ends; empty for the root.
    pub path: Vec<u8>,
    /// What is there.
    pub kind: ListedKind,
}

/// What a layer has under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListedKind {
    /// A directory.
    Directory,
    /// Anything else, with the bytes it takes: of a file with several names, the first has them.
    File {
        /// Bytes of the file, or of a symbolic link's target.
        size: u64,
    },
    /// The name is taken away from the layers below.
    Deleted,
    /// Of this directory nothing shows through from below.
    Opaque,
}

/// Returns everything in an overlay upper directory but sockets, sorted by path bytes: directories before what is in
/// them.
pub fn list(upper: &Path) -> Result<Vec<Listed>, LayerError> {
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    walk(upper, &mut |found| {
        all.push(listed(found, &mut seen));
        Ok(())
    })?;
    Ok(all)
}

fn listed(found: &Found<'_>, seen: &mut HashSet<(u64, u64)>) -> Listed {
    let directory = &found.path[..found
        .path
        .iter()
        .rposition(|byte| *byte == b'/')
        .map_or(0, |slash| slash + 1)];
    let (path, kind) = match found.stat {
        Some(stat) if kind(stat) == FileType::Directory => (found.path.to_vec(), ListedKind::Directory),
        Some(stat) => (
            found.path.to_vec(),
            ListedKind::File {
                size: size(stat, seen),
            },
        ),
        None if found.name == OPAQUE => (directory.to_vec(), ListedKind::Opaque),
        None => ([directory, found.name].concat(), ListedKind::Deleted),
    };
    let length = path.strip_suffix(b"/").unwrap_or(&path).len();
    Listed {
        path: path[..length].to_vec(),
        kind,
    }
}

/// As Docker counts: each inode once, device nodes and directories not at all.
fn size(stat: &Stat, seen: &mut HashSet<(u64, u64)>) -> u64 {
    let has_bytes = matches!(kind(stat), FileType::RegularFile | FileType::Symlink);
    match has_bytes && (stat.st_nlink < 2 || seen.insert((stat.st_dev, stat.st_ino))) {
        true => stat.st_size.unsigned_abs(),
        false => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir(path("dir")).unwrap();
        std::fs::write(path("dir/file"), "12345").unwrap();
        std::fs::hard_link(path("dir/file"), path("dir/other")).unwrap();
        std::os::unix::fs::symlink("file", path("dir/z")).unwrap();
        let listed: Vec<_> = list(folder.path())
            .unwrap()
            .into_iter()
            .map(|entry| (String::from_utf8(entry.path).unwrap(), entry.kind))
            .collect();
        let file = |path: &str, size| (path.to_owned(), ListedKind::File { size });
        assert_eq!(
            listed,
            [
                ("dir".to_owned(), ListedKind::Directory),
                file("dir/file", 5),
                file("dir/other", 0),
                file("dir/z", 4),
            ]
        );
    }
}
