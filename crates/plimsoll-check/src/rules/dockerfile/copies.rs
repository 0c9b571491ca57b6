//! Sources of COPY and ADD.

use plimsoll_dockerfile::{CopySource, InstructionKind, Word};

use crate::view::{Base, DockerfileView, Stage};

/// Endings of files that ADD unpacks, or that somebody unpacks by hand.
pub(super) const ARCHIVES: [&str; 14] = [
    ".tar",
    ".tar.gz",
    ".tgz",
    ".tar.bz2",
    ".tbz",
    ".tbz2",
    ".tar.xz",
    ".txz",
    ".tar.zst",
    ".tzst",
    ".tar.lz",
    ".tlz",
    ".tar.Z",
    ".tar.lzma",
];

/// Whether a source is neither an archive nor a URL, as far as can be said.
pub(super) fn is_plain(view: &DockerfileView, at: usize, source: &CopySource) -> bool {
    let CopySource::Path(path) = source else {
        return true;
    };
    let Some(path) = view.expand(at, path) else {
        return false;
    };
    !is_remote(&path) && !is_archive(&path)
}

pub(super) fn is_archive(path: &str) -> bool {
    ARCHIVES.iter().any(|ending| path.ends_with(ending))
        || [".gz", ".bz2", ".xz", ".zst"]
            .iter()
            .any(|ending| path.ends_with(ending))
}

/// A URL, or a repository that is cloned.
pub(super) fn is_remote(path: &str) -> bool {
    path.contains("://") || path.starts_with("git@")
}

/// The paths among some sources.
pub(super) fn paths(sources: &[CopySource]) -> impl Iterator<Item = &Word> {
    sources.iter().filter_map(|source| match source {
        CopySource::Path(path) => Some(path),
        CopySource::Heredoc(_) => None,
    })
}

/// The folder that WORKDIR has set before an instruction; none when only the base image says it, or a variable.
pub(super) fn workdir(view: &DockerfileView, at: usize) -> Option<String> {
    let stage = view.step(at.min(view.dockerfile.instructions.len() - 1)).stage?;
    let mut stages: Vec<&Stage> = view.chain(stage).collect();
    stages.reverse();
    let mut folder: Option<String> =
        (*view.chain(stage).last().map(|stage| &stage.base)? == Base::Scratch).then(|| "/".to_owned());
    for one in stages {
        for step in view
            .steps_of(one)
            .filter(|step| one.index != stage.index || step.at < at)
        {
            if let InstructionKind::Workdir(word) = step.kind() {
                let path = view.expand(step.at, word)?;
                folder = match (path.starts_with('/'), folder) {
                    (true, _) => Some(join("/", &path)),
                    (false, Some(folder)) => Some(join(&folder, &path)),
                    (false, None) => None,
                };
            }
        }
    }
    Some(folder.unwrap_or_else(|| "/".to_owned()))
}

/// A path seen from a folder, without `.` and `..`.
pub(super) fn join(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = match path.starts_with('/') {
        true => Vec::new(),
        false => folder.split('/').filter(|part| !part.is_empty()).collect(),
    };
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}
