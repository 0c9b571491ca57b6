//! Which files make a project when none is named.

use camino::{Utf8Path, Utf8PathBuf};

const NAMES: [&str; 4] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
];
const OVERRIDES: [&str; 4] = [
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];

/// The compose file of a folder.
pub fn file_in(folder: &Utf8Path) -> Option<Utf8PathBuf> {
    there(folder, &NAMES)
}

fn there(folder: &Utf8Path, names: &[&str]) -> Option<Utf8PathBuf> {
    names
        .iter()
        .map(|name| folder.join(name))
        .find(|path| path.is_file())
}

/// Looks in `folder` and then in each above it; the override file beside the one found comes second.
pub fn find_files(folder: &Utf8Path) -> Option<Vec<Utf8PathBuf>> {
    folder.ancestors().find_map(|folder| {
        let found = file_in(folder)?;
        Some(
            [Some(found), there(folder, &OVERRIDES)]
                .into_iter()
                .flatten()
                .collect(),
        )
    })
}
