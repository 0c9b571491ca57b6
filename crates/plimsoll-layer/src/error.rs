//! What can go wrong between a tar and a directory.

use std::io;
use std::path::PathBuf;

/// Result of a layer operation.
pub(crate) type Result<T, E = LayerError> = std::result::Result<T, E>;

/// Why a layer could not be unpacked or archived.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// The source of the archive failed.
    #[error("cannot read the layer archive")]
    Read(#[source] io::Error),
    /// The archive stops in the middle of something.
    #[error("the layer archive is cut off after {offset} bytes")]
    Truncated {
        /// Its length.
        offset: u64,
    },
    /// The archive is not a tar.
    #[error("the layer archive is damaged before byte {offset}: {what}")]
    Malformed {
        /// Where.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// An entry that no honest layer has.
    #[error("refused `{path}` in the layer: {why}")]
    Refused {
        /// Its path, with what is not text replaced.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A call on a file of the layer failed.
    #[error("cannot {operation} `{}` of the layer", path.display())]
    Entry {
        /// What was being done, as a verb.
        operation: &'static str,
        /// Path inside the layer.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The archive could not be written.
    #[error("cannot write the layer archive")]
    Write(#[source] io::Error),
    /// A file shrank between looking at it and reading it.
    #[error("`{}` changed while it was being archived", path.display())]
    Changed {
        /// Path inside the layer.
        path: PathBuf,
    },
}

/// Adds operation and path to the kernel's answer.
pub(crate) trait At<T> {
    /// `operation` is a verb that fits "cannot ... `path` of the layer".
    fn at(self, operation: &'static str, path: &[u8]) -> Result<T>;
}

impl<T, E: Into<io::Error>> At<T> for std::result::Result<T, E> {
    fn at(self, operation: &'static str, path: &[u8]) -> Result<T> {
        use std::os::unix::ffi::OsStrExt as _;
        let path = || std::path::Path::new(std::ffi::OsStr::from_bytes(path)).to_owned();
        self.map_err(|source| LayerError::Entry {
            operation,
            path: path(),
            source: source.into(),
        })
    }
}

/// Makes the error for an entry that no honest layer has.
pub(crate) fn refused(path: &[u8], why: &'static str) -> LayerError {
    LayerError::Refused {
        path: String::from_utf8_lossy(path).into_owned(),
        why,
    }
}
