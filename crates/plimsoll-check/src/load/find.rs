//! Which files in a folder are ours, by their names.

use std::fs;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use ignore::WalkBuilder;

use super::{Inputs, absolute};

/// Folders that hold the work of others.
const FOREIGN: [&str; 2] = [".git", "node_modules"];
/// Endings of files that only make a Dockerfile, or are left over from one.
const NO_DOCKERFILES: [&str; 12] = [
    "j2", "jinja", "jinja2", "tmpl", "template", "tpl", "erb", "in", "md", "orig", "bak", "swp",
];

/// Files to check, absolute.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) dockerfiles: Vec<Utf8PathBuf>,
    pub(super) composes: Vec<Utf8PathBuf>,
    pub(super) ignores: Vec<Utf8PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Dockerfile,
    Compose,
    Ignore,
}

impl Found {
    /// Adds a file, or all of ours below a folder. False says that there is no such path.
    pub(super) fn add(&mut self, inputs: &Inputs, path: &str) -> io::Result<bool> {
        let path = absolute(&inputs.current, path);
        if inputs.texts.contains_key(&path) {
            self.push(named_by_user(&path), path);
            return Ok(true);
        }
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        if metadata.is_dir() {
            self.walk(&path)?;
        } else if is_archive(&path) {
            return Ok(false);
        } else {
            self.push(named_by_user(&path), path);
        }
        Ok(true)
    }

    /// What `.gitignore` leaves out is generated, or somebody else's.
    fn walk(&mut self, folder: &Utf8Path) -> io::Result<()> {
        let mut walk = WalkBuilder::new(folder);
        walk.hidden(false).require_git(false).parents(true).ignore(false);
        walk.filter_entry(|entry| !FOREIGN.iter().any(|name| entry.file_name() == *name));
        for entry in walk.build() {
            let entry = match entry {
                Ok(entry) => entry,
                // A folder below that may not be read is no reason to end; the one that was asked for is.
                Err(error) if error.depth() == Some(0) => return Err(io::Error::other(error)),
                Err(_) => continue,
            };
            let is_file = entry
                .file_type()
                .is_some_and(|kind| kind.is_file() || kind.is_symlink() && entry.path().is_file());
            let path = Utf8PathBuf::from_path_buf(entry.into_path());
            if let (true, Ok(path)) = (is_file, path)
                && let Some(kind) = kind(path.file_name().unwrap_or_default())
            {
                self.push(kind, path);
            }
        }
        Ok(())
    }

    fn push(&mut self, kind: Kind, path: Utf8PathBuf) {
        match kind {
            Kind::Dockerfile => self.dockerfiles.push(path),
            Kind::Compose => self.composes.push(path),
            Kind::Ignore => self.ignores.push(path),
        }
    }

    pub(super) fn dedup(&mut self) {
        for list in [&mut self.dockerfiles, &mut self.composes, &mut self.ignores] {
            list.sort();
            list.dedup();
        }
    }
}

/// Whether a file's name says that it is a Dockerfile, a `.dockerignore` or a compose file.
pub fn is_known(path: &Utf8Path) -> bool {
    path.file_name().is_some_and(|name| kind(name).is_some())
}

/// What a file of this name is; none is nothing of ours.
fn kind(name: &str) -> Option<Kind> {
    let lower = name.to_ascii_lowercase();
    let (stem, ending) = lower.rsplit_once('.').unwrap_or((&lower, ""));
    if name == ".dockerignore" || ending == "dockerignore" {
        return Some(Kind::Ignore);
    }
    if matches!(ending, "yml" | "yaml")
        && ["compose", "docker-compose"]
            .iter()
            .any(|prefix| is_named(stem, prefix))
    {
        return Some(Kind::Compose);
    }
    let begins = ["Dockerfile", "Containerfile", "dockerfile"]
        .iter()
        .any(|prefix| is_named(name, prefix));
    let ends = matches!(ending, "dockerfile" | "containerfile");
    let is_text = !NO_DOCKERFILES.contains(&ending)
        && !name.ends_with('~')
        && !matches!(ending, "yml" | "yaml" | "json");
    ((begins || ends) && is_text).then_some(Kind::Dockerfile)
}

/// `prefix`, or it with a suffix that is set off.
fn is_named(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-', '_']))
}

/// A file that somebody names is one of ours, whatever it is called.
fn named_by_user(path: &Utf8Path) -> Kind {
    let name = path.file_name().unwrap_or_default();
    kind(name).unwrap_or(match path.extension() {
        Some("yml" | "yaml") => Kind::Compose,
        _ => Kind::Dockerfile,
    })
}

/// Whether a file is an image's archive, by its name.
fn is_archive(path: &Utf8Path) -> bool {
    matches!(path.extension(), Some("tar" | "oci" | "tgz" | "gz" | "zst"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_names() {
        for name in [
            "Dockerfile",
            "Dockerfile.prod",
            "web.Dockerfile",
            "api.dockerfile",
            "Containerfile",
            "Dockerfile-dev",
            "dockerfile",
        ] {
            assert_eq!(kind(name), Some(Kind::Dockerfile), "{name}");
        }
        for name in [
            "compose.yaml",
            "docker-compose.yml",
            "docker-compose.prod.yml",
            "compose.override.yaml",
            "docker-compose-dev.yml",
        ] {
            assert_eq!(kind(name), Some(Kind::Compose), "{name}");
        }
        for name in [
            ".dockerignore",
            "Dockerfile.dockerignore",
            "web.Dockerfile.dockerignore",
        ] {
            assert_eq!(kind(name), Some(Kind::Ignore), "{name}");
        }
        for name in [
            "Dockerfile.j2",
            "Dockerfile.md",
            "Dockerfile~",
            "Dockerfiles",
            "composer.json",
            "composed.yml",
            "main.rs",
            ".gitignore",
        ] {
            assert_eq!(kind(name), None, "{name}");
        }
        assert_eq!(named_by_user("a/stack.yml".into()), Kind::Compose);
        assert_eq!(named_by_user("a/build.txt".into()), Kind::Dockerfile);
        assert!(is_archive("image.tar".into()));
    }
}
