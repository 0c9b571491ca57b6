//! What is installed in a root file system, and bills of materials that say so.
//!
//! [`Inventory::of`] reads a tree without mounting or running anything of it: the databases of package managers at their
//! known places, and the files that language package managers leave, found by one walk. What an image says about itself
//! is taken for what it is, a claim: files that cannot be read as what they should be are passed over, big ones too.

mod catalog;
mod distribution;
mod package;
mod spdx;

use std::path::Path;

use plimsoll_store::{Entry, MergedTree, StoreError};

pub use distribution::Distribution;
pub use package::{Kind, Package};
pub use spdx::{SPDX_PREDICATE, SpdxDocument};

/// Bigger files are not read: no database of a real image comes near.
const FILE_LIMIT: u64 = 128 << 20;

/// Why a tree could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file could not be read.
    #[error("cannot read `{path}`")]
    Read {
        /// Its path in the image.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

type Result<T, E = ScanError> = std::result::Result<T, E>;

/// What is installed in a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Which distribution it is.
    pub distribution: Option<Distribution>,
    /// Sorted; each package of one version once, with every place that speaks of it.
    pub packages: Vec<Package>,
}

impl Inventory {
    /// Reads what is installed.
    pub fn of(tree: &MergedTree) -> Result<Self> {
        let distribution = Distribution::of(tree)?;
        let mut packages = catalog::system(tree, distribution.as_ref())?;
        walk(tree, &mut |entry| {
            if let Some(catalog) = catalog::of_file(&entry.path)
                && let Some(text) = text(entry)?
            {
                packages.extend(catalog(&entry.path, &text));
            }
            Ok(())
        })?;
        Ok(Self {
            distribution,
            packages: merged(packages),
        })
    }
}

/// Brings together what several files say about one package.
fn merged(mut packages: Vec<Package>) -> Vec<Package> {
    packages.sort();
    let mut merged: Vec<Package> = Vec::with_capacity(packages.len());
    for package in packages {
        match merged.last_mut() {
            Some(last) if last.purl == package.purl => {
                last.locations.extend(package.locations);
                last.licences.extend(package.licences);
            }
            _ => merged.push(package),
        }
    }
    for package in &mut merged {
        for list in [&mut package.locations, &mut package.licences] {
            list.sort();
            list.dedup();
        }
    }
    merged
}

/// Shows every file of a tree, in order; links are not followed.
fn walk(tree: &MergedTree, visit: &mut dyn FnMut(&Entry) -> Result<()>) -> Result<()> {
    let mut open = vec![tree.root()?];
    while let Some(directory) = open.pop() {
        for name in tree.read_dir(&directory)? {
            // What is mounted at run time is not part of an image.
            if directory.path == Path::new("/")
                && ["proc", "sys", "dev"].iter().any(|skipped| name == *skipped)
            {
                continue;
            }
            let Some(entry) = tree.child(&directory, &name)? else {
                continue;
            };
            if entry.metadata.is_dir() {
                open.push(entry);
            } else if entry.metadata.is_file() {
                visit(&entry)?;
            }
        }
    }
    Ok(())
}

/// Returns the text of a file; none if it is none or too big.
fn text(entry: &Entry) -> Result<Option<String>> {
    if !entry.metadata.is_file() || entry.metadata.len() > FILE_LIMIT {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let read = std::io::Read::read_to_end(&mut entry.open()?, &mut bytes);
    read.map_err(|source| ScanError::Read {
        path: entry.path.display().to_string(),
        source,
    })?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Returns the text of the file at a path, links followed inside the tree.
fn text_at(tree: &MergedTree, path: &str) -> Result<Option<String>> {
    match tree.resolve(Path::new(path))? {
        Some(entry) => text(&entry),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests;
