//! Sources of COPY and ADD.

use plimsoll_dockerfile::{CopySource, Word};

use crate::view::DockerfileView;

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
