//! A build context as rules see it.

use camino::Utf8PathBuf;
use plimsoll_diagnostics::{Diagnostic, Source};
use plimsoll_dockerfile::IgnoreFile;

/// A folder that a build is given.
#[derive(Debug)]
pub struct ContextView {
    /// The folder.
    pub folder: Utf8PathBuf,
    /// The `.dockerignore` that counts, where there is one.
    pub ignore: Option<IgnoreView>,
    /// What lies in the folder, ignored or not, by path: parents before their children. What lies below an ignored
    /// folder that nothing brings back is not listed.
    pub entries: Vec<ContextEntry>,
    /// Whether the listing ends early because the folder is very large.
    pub truncated: bool,
    /// The Dockerfiles that are built with it, by path.
    pub dockerfiles: Vec<Utf8PathBuf>,
}

/// A `.dockerignore`.
#[derive(Debug)]
pub struct IgnoreView {
    /// Its text.
    pub source: Source,
    /// Its patterns, or why they cannot be read.
    pub file: Result<IgnoreFile, Box<Diagnostic>>,
}

/// A file or folder of a context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextEntry {
    /// Below the context's folder, with slashes.
    pub path: String,
    /// What it is.
    pub kind: ContextKind,
    /// Bytes; of an ignored folder that is not listed, nothing.
    pub size: u64,
    /// Whether it is sent: no pattern excludes it.
    pub sent: bool,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContextKind {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
}
