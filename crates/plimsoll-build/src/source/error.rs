//! Why something could not be fetched.

use std::io;
use std::path::PathBuf;

use plimsoll_image::ImageError;
use plimsoll_layer::LayerError;
use plimsoll_oci::Digest;
use plimsoll_registry::{FailureKind, WebError};
use plimsoll_store::StoreError;

use crate::ContextError;

/// Why something could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A web server did not give it.
    #[error(transparent)]
    Web(#[from] WebError),
    /// The bytes are not those that were asked for. Nothing of them is kept.
    #[error("`{url}` has digest `{actual}`, not `{expected}`")]
    Checksum {
        /// Where from.
        url: String,
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// A git URL that contradicts itself.
    #[error("`{url}` is not a usable git URL: {reason}")]
    GitUrl {
        /// The URL.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// There is no git.
    #[error("`git` is needed for `{url}`, and is not installed")]
    NoGit {
        /// The repository.
        url: String,
    },
    /// git failed.
    #[error("git cannot {doing} `{url}`: {reason}")]
    Git {
        /// `fetch from`
        doing: &'static str,
        /// The repository.
        url: String,
        /// git's own words.
        reason: String,
    },
    /// No such branch or tag.
    #[error("`{url}` has no branch or tag `{reference}`")]
    NoReference {
        /// The repository.
        url: String,
        /// What was looked for.
        reference: String,
        /// A name that is near.
        nearest: Option<String>,
    },
    /// The commit is not the one that was asked for.
    #[error("`{url}` is at commit `{actual}`, not `{expected}`")]
    Commit {
        /// The repository.
        url: String,
        /// What was asked for, or its beginning.
        expected: String,
        /// What is there.
        actual: String,
    },
    /// A folder that is not there.
    #[error("`{path}` is not a folder in {place}")]
    NoFolder {
        /// What was looked for.
        path: String,
        /// In what.
        place: String,
    },
    /// A Dockerfile that is not there.
    #[error("cannot find Dockerfile `{path}` in {place}")]
    NoDockerfile {
        /// What was looked for.
        path: String,
        /// In what.
        place: String,
    },
    /// A Dockerfile that is not text, or too long.
    #[error("`{name}` is not a Dockerfile: {reason}")]
    NotADockerfile {
        /// Which.
        name: String,
        /// Why not.
        reason: &'static str,
    },
    /// An archive that cannot be unpacked.
    #[error("cannot unpack {place}")]
    Unpack {
        /// Which.
        place: String,
        /// Why.
        #[source]
        source: LayerError,
    },
    /// A value of `--build-context` that means nothing.
    #[error("`{value}` cannot be build context `{name}`: {reason}")]
    NamedContext {
        /// Its name.
        name: String,
        /// What it was to be.
        value: String,
        /// Why not.
        reason: String,
    },
    /// A folder that cannot be a context.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// An image layout that cannot be used.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A file could not be used.
    #[error("cannot {operation} `{}`", path.display())]
    Io {
        /// What was being done.
        operation: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SourceError {
    /// For `map_err`: what was being done to which path.
    pub(crate) fn io(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            operation,
            path,
            source,
        }
    }

    /// The way out, where one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoGit { .. } => Some("install it: `apt-get install git`".to_owned()),
            Self::NoReference { nearest, .. } => {
                nearest.as_ref().map(|near| format!("did you mean `{near}`?"))
            }
            Self::Web(error) if error.kind() == FailureKind::Unauthorised => Some(
                "give a token for this host with `--secret id=HTTP_AUTH_TOKEN_<host>,src=FILE`".to_owned(),
            ),
            Self::Checksum { actual, .. } => Some(format!(
                "if the file was changed on purpose, use `--checksum={actual}`"
            )),
            Self::NoDockerfile { .. } => {
                Some("name the file with `-f FILE`; its path is relative to the context".to_owned())
            }
            _ => None,
        }
    }
}
