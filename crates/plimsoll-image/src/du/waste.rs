//! Bytes that are in an image's layers and in no container.

use std::collections::BTreeMap;

use super::{File, below};

/// Bytes of one layer that a later layer covered or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waste {
    /// A file, or a directory of which most was covered or deleted in the same way; absolute, as bytes.
    pub path: Vec<u8>,
    /// Whether it stands for several files.
    pub is_directory: bool,
    /// Files it stands for.
    pub files: u64,
    /// Their bytes.
    pub size: u64,
    /// Number of the layer that has them, counted from the base.
    pub layer: usize,
    /// Number of the layer that covered or deleted them.
    pub by: usize,
    /// What that layer did.
    pub cause: WasteCause,
}

/// How a file came to be in a layer and in no container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WasteCause {
    /// Something else has its name: written, or only its mode or owner changed.
    Overwritten,
    /// Its name is gone.
    Deleted,
}

impl Waste {
    /// `path` without a slash at the beginning.
    pub(super) fn of_file(path: &[u8], size: u64, layer: usize, by: usize, cause: WasteCause) -> Self {
        Self {
            path: [b"/", path].concat(),
            is_directory: false,
            files: 1,
            size,
            layer,
            by,
            cause,
        }
    }
}

/// Puts what one layer did to another's files together by directory, so that `chown -R` is one line and not a thousand.
/// The greatest first; what costs nothing is left out.
pub(super) fn gather(mut all: Vec<Waste>, files: &BTreeMap<Box<[u8]>, File>) -> Vec<Waste> {
    all.retain(|waste| waste.size > 0);
    let group = |waste: &Waste| (waste.layer, waste.by, waste.cause);
    all.sort_by(|a, b| group(a).cmp(&group(b)).then_with(|| a.path.cmp(&b.path)));
    let mut gathered = Vec::new();
    for alike in all.chunk_by(|a, b| group(a) == group(b)) {
        fold(alike, 0, files, &mut gathered);
    }
    gathered.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.path.cmp(&b.path)));
    gathered
}

/// Gathers what lies in one directory, the first `length` bytes of each path, or in the directories there.
fn fold(alike: &[Waste], length: usize, files: &BTreeMap<Box<[u8]>, File>, gathered: &mut Vec<Waste>) {
    let [first, _, ..] = alike else {
        gathered.extend_from_slice(alike);
        return;
    };
    // In one directory of this one, all of them: that says more.
    let name = next_name(&first.path, length);
    if alike.iter().all(|waste| next_name(&waste.path, length) == name) {
        return fold(alike, length + 1 + name.len(), files, gathered);
    }
    let size: u64 = alike.iter().map(|waste| waste.size).sum();
    let directory = &first.path[..length];
    if length > 0 && size >= left(files, &directory[1..], first.layer) {
        gathered.push(Waste {
            path: directory.to_vec(),
            is_directory: true,
            files: alike.len() as u64,
            size,
            ..first.clone()
        });
        return;
    }
    for inside in alike.chunk_by(|a, b| next_name(&a.path, length) == next_name(&b.path, length)) {
        let path = &inside[0].path;
        match inside {
            [only] => gathered.push(only.clone()),
            _ => fold(
                inside,
                length + 1 + next_name(path, length).len(),
                files,
                gathered,
            ),
        }
    }
}

/// The name after the slash at `length`.
fn next_name(path: &[u8], length: usize) -> &[u8] {
    let rest = &path[length + 1..];
    let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
    &rest[..end]
}

/// Bytes that containers still see of `layer` in a directory.
fn left(files: &BTreeMap<Box<[u8]>, File>, directory: &[u8], layer: usize) -> u64 {
    let of_layer = below(files, directory).filter(|(_, file)| file.layer == layer);
    of_layer.map(|(_, file)| file.size).sum()
}
