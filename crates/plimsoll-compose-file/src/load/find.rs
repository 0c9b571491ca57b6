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

/// Files beside one that [`find_files`] found that would have done as well, had it not been there.
pub fn passed_over(found: &Utf8Path) -> Vec<Utf8PathBuf> {
    let Some((folder, name)) = found.parent().zip(found.file_name()) else {
        return Vec::new();
    };
    let names = match NAMES.contains(&name) {
        true => NAMES,
        false => OVERRIDES,
    };
    let others = names.iter().filter(|other| **other != name);
    others
        .map(|other| folder.join(other))
        .filter(|path| path.is_file())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| Utf8Path::from_path(folder.path()).unwrap().join(name);
        for name in [
            "compose.yaml",
            "docker-compose.yml",
            "docker-compose.override.yml",
            "other.yml",
        ] {
            std::fs::write(path(name), "").unwrap();
        }
        let found = find_files(&path(".")).unwrap();
        let over: Vec<_> = found.iter().flat_map(|file| passed_over(file)).collect();
        assert_eq!(over, [path("./docker-compose.yml")]);
        std::fs::write(path("compose.override.yaml"), "").unwrap();
        let found = find_files(&path(".")).unwrap();
        assert_eq!(passed_over(&found[1]), [path("./docker-compose.override.yml")]);
    }
}
