//! Who knows what is installed: one file for each package manager.

mod apk;
mod dpkg;
mod npm;
mod pip;

use std::path::Path;

use plimsoll_store::MergedTree;

use crate::{Distribution, Package, Result};

/// Reads the packages that one file speaks of.
pub(crate) type Catalog = fn(&Path, &str) -> Vec<Package>;

/// Packages of the distribution, from their databases.
pub(crate) fn system(tree: &MergedTree, distribution: Option<&Distribution>) -> Result<Vec<Package>> {
    let mut packages = dpkg::packages(tree, distribution)?;
    packages.extend(apk::packages(tree, distribution)?);
    Ok(packages)
}

/// Returns what reads a file, going by its name.
pub(crate) fn of_file(path: &Path) -> Option<Catalog> {
    let name = path.file_name()?.to_str()?;
    let parent = || {
        path.parent()
            .and_then(Path::file_name)
            .and_then(|name| name.to_str())
    };
    match name {
        "package.json" if npm::is_installed(path) => Some(npm::package),
        "package-lock.json" | ".package-lock.json" | "npm-shrinkwrap.json" => Some(npm::lock),
        "METADATA" if parent().is_some_and(|parent| parent.ends_with(".dist-info")) => Some(pip::metadata),
        "PKG-INFO" if parent().is_some_and(|parent| parent.ends_with(".egg-info")) => Some(pip::metadata),
        name if name.ends_with(".egg-info") => Some(pip::metadata),
        _ => None,
    }
}

/// The fields of a stanza such as dpkg and pip write: `Name: value`, continued on lines that begin with a space.
fn fields(stanza: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = stanza.lines().filter(|line| !line.starts_with([' ', '\t']));
    lines.filter_map(|line| line.split_once(':').map(|(key, value)| (key, value.trim())))
}
