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

/// Looks in `folder` and then in each above it; the override file beside the one found comes second.
pub fn find_files(folder: &Utf8Path) -> Option<Vec<Utf8PathBuf>> {
    let there = |folder: &Utf8Path, names: &[&str]| {
        let paths = names.iter().map(|name| folder.join(name));
        paths.into_iter().find(|path| path.is_file())
    };
    folder.ancestors().find_map(|folder| {
        let found = there(folder, &NAMES)?;
        Some(
            [Some(found), there(folder, &OVERRIDES)]
                .into_iter()
                .flatten()
                .collect(),
        )
    })
}
