//! What can go wrong between here and a registry.

use std::fmt;
use std::time::Duration;

use camino::Utf8PathBuf;
use plimsoll_oci::{Digest, ImageRef};

/// Why something could not be had from a registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Every host that may have it was asked.
    #[error("{what} of `{}` {}: {}", reference.familiar(), outcome(attempts), list(attempts))]
    Fetch {
        /// What was wanted.
        what: Wanted,
        /// Of which image.
        reference: Box<ImageRef>,
        /// One for each host, mirrors first. Never empty.
        attempts: Vec<Attempt>,
    },
    /// The receiver of a blob could not take its bytes.
    #[error("cannot keep blob `{digest}`")]
    Keep {
        /// The blob.
        digest: Digest,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The registry does not take something.
    #[error("{what} of `{}` was not taken: {attempt}", reference.familiar())]
    Push {
        /// What was to be pushed.
        what: Wanted,
        /// Of which image.
        reference: Box<ImageRef>,
        /// What the registry said.
        attempt: Attempt,
    },
    /// A blob that is to be pushed cannot be read.
    #[error("cannot read blob `{digest}`")]
    ReadBlob {
        /// The blob.
        digest: Digest,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Docker's `config.json` is there and cannot be used.
    #[error("cannot read credentials from `{path}`")]
    Credentials {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A `ca` of the settings cannot be used.
    #[error("cannot use `{path}` as certificate authority of registry `{registry}`")]
    Certificate {
        /// The file.
        path: Utf8PathBuf,
        /// The registry it is configured for.
        registry: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The HTTP client cannot be set up: for example, no system certificates.
    #[error("cannot set up a connection to registry `{registry}`")]
    Client {
        /// The host.
        registry: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl RegistryError {
    /// Returns which kind of failure this is; of several hosts, the last one asked decides: that is the registry itself.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Fetch { attempts, .. } => attempts
                .last()
                .map_or(FailureKind::Other, |last| last.failure.kind()),
            Self::Push { attempt, .. } => attempt.failure.kind(),
            _ => FailureKind::Other,
        }
    }
}

impl RegistryError {
    /// Returns which registry refused or failed, by its name in image references.
    pub fn registry(&self) -> Option<&str> {
        match self {
            Self::Fetch { reference, .. } | Self::Push { reference, .. } => Some(reference.registry()),
            Self::Certificate { registry, .. } | Self::Client { registry, .. } => Some(registry),
            _ => None,
        }
    }
}

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The registry answered that it does not have it.
    NotFound,
    /// The registry wants other credentials, or hides that there is nothing.
    Unauthorised,
    /// Nobody answered.
    Unreachable,
    /// Anything else.
    Other,
}

/// What was wanted from a registry, or given to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A manifest or index.
    Manifest,
    /// A blob.
    Blob(Digest),
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest => f.write_str("manifest"),
            Self::Blob(digest) => write!(f, "blob `{digest}`"),
        }
    }
}

/// How one host failed.
#[derive(Debug)]
pub struct Attempt {
    /// Host and repository that were asked: `127.0.0.1:5000/library/node`.
    pub asked: String,
    /// What came back last.
    pub failure: Failure,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.asked, self.failure)
    }
}

/// How one request failed. The words continue "`host` ...".
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// 404.
    #[error("answered 404{}", detail(message))]
    NotFound {
        /// The registry's own words.
        message: String,
    },
    /// 401 or 403, also after sending what credentials there are.
    #[error("answered {status}{}", detail(message))]
    Unauthorised {
        /// The status.
        status: u16,
        /// The registry's own words.
        message: String,
    },
    /// Any other status that is not success.
    #[error("answered {status}{}", detail(message))]
    Status {
        /// The status.
        status: u16,
        /// The registry's own words.
        message: String,
        /// How long the registry asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// No connection.
    #[error("cannot be reached: {reason}")]
    Unreachable {
        /// The innermost cause.
        reason: String,
    },
    /// The connection was lost on the way, or went silent.
    #[error("broke off: {reason}")]
    Broken {
        /// The innermost cause.
        reason: String,
    },
    /// The answer is not what was asked for.
    #[error("sent something else: {reason}")]
    Invalid {
        /// What is wrong with it.
        reason: String,
    },
}

impl Failure {
    pub(crate) fn kind(&self) -> FailureKind {
        match self {
            Self::NotFound { .. } => FailureKind::NotFound,
            Self::Unauthorised { .. } => FailureKind::Unauthorised,
            Self::Unreachable { .. } => FailureKind::Unreachable,
            _ => FailureKind::Other,
        }
    }

    pub(crate) fn broken(reason: impl Into<String>) -> Self {
        Self::Broken {
            reason: reason.into(),
        }
    }

    pub(crate) fn invalid(reason: impl Into<String>) -> Self {
        Self::Invalid {
            reason: reason.into(),
        }
    }
}

impl From<reqwest::Error> for Failure {
    /// reqwest's own words repeat the URL; the innermost cause is what a reader needs.
    fn from(error: reqwest::Error) -> Self {
        tracing::debug!(?error, "request failed");
        let mut cause: &dyn std::error::Error = &error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        let reason = cause.to_string();
        if error.is_connect() {
            Self::Unreachable { reason }
        } else {
            Self::Broken { reason }
        }
    }
}

fn detail(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!(" ({message})")
    }
}

fn outcome(attempts: &[Attempt]) -> &'static str {
    match attempts.last().map(|last| last.failure.kind()) {
        Some(FailureKind::NotFound) => "was not found",
        Some(FailureKind::Unauthorised) => "needs authorisation, or there is no such repository",
        Some(FailureKind::Unreachable) => "could not be fetched, its registry does not answer",
        _ => "could not be fetched",
    }
}

fn list(attempts: &[Attempt]) -> String {
    attempts
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}
