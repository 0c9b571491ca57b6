//! The build context: a folder read in place, less what its ignore file leaves out.

mod index;

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use plimsoll_diagnostics::{Diagnostic, Source};
use plimsoll_dockerfile::IgnoreFile;
use plimsoll_oci::Digest;
use plimsoll_store::{MergedTree, Store};

pub(crate) use index::{Content, ContextIndex};

/// A folder of files that COPY and ADD may take from.
///
/// It is read in place, never copied or sent: only what instructions name is looked at. Symlinks are
/// resolved inside the folder.
pub struct BuildContext {
    root: PathBuf,
    pub(crate) tree: MergedTree,
    pub(crate) ignore: IgnoreFile,
    /// The ignore file, called as the user knows it.
    pub(crate) ignore_text: Option<Source>,
    /// As `--build-context` names it; none for the build's own.
    name: Option<String>,
    /// What its files are known to hold; loaded by the first instruction that reads one.
    index: OnceLock<ContextIndex>,
    /// Where it was fetched from.
    pub(crate) origin: Option<crate::attest::ContextOrigin>,
}

/// Why a folder cannot be a build context.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// It cannot be read.
    #[error("cannot read build context `{}`", path.display())]
    Read {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is a file.
    #[error("build context `{}` is not a folder", .0.display())]
    NotAFolder(PathBuf),
    /// Its ignore file has a pattern that means nothing.
    #[error("{}", .0.message)]
    Ignore(Box<Diagnostic>),
}

/// Reads a file that came with a context. A pipe would hold us for ever, and opening a device acts.
pub fn read_plain(path: &Path) -> io::Result<Vec<u8>> {
    match std::fs::metadata(path)?.is_file() {
        true => std::fs::read(path),
        false => Err(io::Error::other("not a regular file")),
    }
}

impl BuildContext {
    /// Opens a folder. The ignore file is `<dockerfile>.dockerignore` beside the Dockerfile if there is one,
    /// else `.dockerignore` in the folder's root.
    pub fn open(root: &Path, dockerfile: Option<&Path>) -> Result<Self, ContextError> {
        Self::open_with(root, dockerfile, read_plain)
    }

    /// As [`BuildContext::open`], for a folder that somebody else has filled: an ignore file that is a link to a file of the
    /// host is none.
    pub(crate) fn open_fetched(root: &Path, dockerfile: Option<&Path>) -> Result<Self, ContextError> {
        Self::open_with(root, dockerfile, |path| {
            match path.canonicalize()?.starts_with(root.canonicalize()?) {
                true => read_plain(path),
                false => Err(io::ErrorKind::NotFound.into()),
            }
        })
    }

    fn open_with(
        root: &Path,
        dockerfile: Option<&Path>,
        read_ignore: impl Fn(&Path) -> io::Result<Vec<u8>>,
    ) -> Result<Self, ContextError> {
        let read = |source| ContextError::Read {
            path: root.to_owned(),
            source,
        };
        let absolute = root.canonicalize().map_err(read)?;
        if !absolute.is_dir() {
            return Err(ContextError::NotAFolder(root.to_owned()));
        }
        let beside = dockerfile.map(|path| {
            let mut name = path.file_name().map(OsStr::to_owned).unwrap_or_default();
            name.push(".dockerignore");
            path.with_file_name(name)
        });
        let candidates = beside.into_iter().chain([root.join(".dockerignore")]);
        let mut found = None;
        for path in candidates {
            match read_ignore(&path) {
                Ok(bytes) => {
                    found = Some(Source::new(
                        path.to_string_lossy(),
                        String::from_utf8_lossy(&bytes),
                    ));
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(ContextError::Read { path, source }),
            }
        }
        let ignore = match &found {
            Some(source) => IgnoreFile::parse(source).map_err(ContextError::Ignore)?,
            None => IgnoreFile::empty(),
        };
        Ok(Self {
            tree: MergedTree::new(vec![absolute.clone()]),
            root: absolute,
            ignore,
            ignore_text: found,
            name: None,
            index: OnceLock::new(),
            origin: None,
        })
    }

    /// Returns a context without files, for a Dockerfile from standard input alone.
    pub fn empty() -> Self {
        Self {
            root: PathBuf::new(),
            tree: MergedTree::new(Vec::new()),
            ignore: IgnoreFile::empty(),
            ignore_text: None,
            name: None,
            index: OnceLock::new(),
            origin: None,
        }
    }

    /// Says where it was fetched from.
    pub(crate) fn with_origin(self, origin: Option<crate::attest::ContextOrigin>) -> Self {
        Self { origin, ..self }
    }

    /// Returns the same folder under the name that instructions call it by.
    pub(crate) fn named(self, name: &str) -> Self {
        Self {
            name: Some(name.to_owned()),
            ..self
        }
    }

    /// As errors call it.
    pub(crate) fn place(&self) -> String {
        match &self.name {
            None => "the build context".to_owned(),
            Some(name) => format!("context `{name}`"),
        }
    }

    /// Returns the text of the ignore file, where there is one.
    pub fn ignore_text(&self) -> Option<&Source> {
        self.ignore_text.as_ref()
    }

    /// Returns the folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Names the files that the store keeps about this context: a hash of where it is.
    fn id(&self) -> String {
        Digest::of(self.root.as_os_str().as_encoded_bytes()).hex()
    }

    /// Returns what is known of its files.
    pub(crate) fn index(&self, store: &Store) -> &ContextIndex {
        self.index
            .get_or_init(|| ContextIndex::load(self.file(store, "index")))
    }

    /// Path of a file that the store keeps about this context; none for one that was unpacked for a single build.
    pub(crate) fn file(&self, store: &Store, extension: &str) -> Option<PathBuf> {
        let name = format!("{}.{extension}", self.id());
        (!self.root.starts_with(store.root())).then(|| store.root().join("contexts").join(name).into())
    }
}
