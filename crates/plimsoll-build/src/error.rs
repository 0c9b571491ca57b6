//! Why a build failed.

use std::io;
use std::path::PathBuf;

use camino::Utf8PathBuf;
use plimsoll_diagnostics::{Diagnostic, Span};
use plimsoll_image::ImageError;
use plimsoll_network::NetworkError;
use plimsoll_runtime::RuntimeError;
use plimsoll_store::StoreError;

use crate::remote_cache::CacheError;
use crate::source::SourceError;

/// Why a build failed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The Dockerfile is wrong, or one of its instructions failed: each with its place.
    #[error("{}", .0.first().map_or("the build failed", |first| first.message.as_str()))]
    Diagnostics(Vec<Diagnostic>),
    /// The program of a RUN ended badly.
    #[error("{}", .diagnostic.message)]
    Step {
        /// Which: `[builder 2/3] RUN make`.
        step: String,
        /// Its last lines of output.
        tail: Vec<String>,
        /// All of its output, if there was any.
        log: Option<Utf8PathBuf>,
        /// What happened, where.
        diagnostic: Box<Diagnostic>,
    },
    /// An image could not be had or made.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// It was built, and a gate does not let it go on.
    #[error("{0}")]
    Refused(String),
    /// No list of what is installed could be made.
    #[error("cannot make a bill of materials")]
    Scan(#[from] plimsoll_scan::ScanError),
    /// A cache that had to be exported was not.
    #[error("cannot export the cache")]
    Cache(#[source] Box<CacheError>),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An archive of files could not be written.
    #[error("cannot write the archive")]
    WriteArchive(#[source] io::Error),
    /// Annotations of an index that is not made.
    #[error("index annotations not supported for single platform export")]
    IndexAnnotations,
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
}

impl From<CacheError> for BuildError {
    fn from(error: CacheError) -> Self {
        Self::Cache(Box::new(error))
    }
}

impl BuildError {
    /// For `map_err`: what was being done to which path.
    pub(crate) fn io(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            operation,
            path,
            source,
        }
    }
}

/// Why one operation failed; the build adds the instruction's place.
#[derive(Debug, thiserror::Error)]
pub enum OpError {
    /// The program of a RUN ended badly.
    #[error("process `{command}` did not complete successfully: exit code: {code}")]
    Exit {
        /// The command as the user wrote it.
        command: String,
        /// Its exit code, 128+n for a signal.
        code: i32,
        /// Its last lines of output.
        tail: Vec<String>,
        /// All of its output, if there was any.
        log: Option<Utf8PathBuf>,
    },
    /// A mount of a RUN that cannot be made.
    #[error("{message}")]
    Mount {
        /// What is wrong.
        message: String,
        /// The option.
        span: Span,
        /// The way out.
        hint: Option<String>,
    },
    /// The program of a RUN could not be started.
    #[error("cannot run `{command}`")]
    Start {
        /// The command as the user wrote it.
        command: String,
        /// Why.
        #[source]
        source: Box<RuntimeError>,
    },
    /// A source of COPY or ADD is not there.
    #[error("`{path}` not found in {place}")]
    NotFound {
        /// As the user wrote it.
        path: String,
        /// Where it was looked for.
        place: String,
        /// The word that names it.
        span: Option<Span>,
        /// What may help: the ignore rule that hid it, a name that is near.
        hint: Option<String>,
    },
    /// A COPY that cannot be carried out.
    #[error("{0}")]
    Copy(String),
    /// One word of the instruction is to blame.
    #[error("{message}")]
    Word {
        /// What is wrong.
        message: String,
        /// The word.
        span: Option<Span>,
        /// What may help.
        hint: Option<String>,
    },
    /// A file of the context changed between the cache key and the copy.
    #[error("`{}` changed while it was copied", path.display())]
    Changed {
        /// Which.
        path: PathBuf,
    },
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
    /// An image could not be used.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A source could not be fetched.
    #[error(transparent)]
    Source(#[from] Box<SourceError>),
    /// No network for a RUN.
    #[error("cannot give RUN a network")]
    Network(#[from] NetworkError),
}

impl From<SourceError> for OpError {
    fn from(error: SourceError) -> Self {
        Self::Source(Box::new(error))
    }
}

impl OpError {
    /// For `map_err`: what was being done to which path.
    pub(crate) fn io(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            operation,
            path,
            source,
        }
    }

    /// The word to blame, where it is not the whole instruction.
    pub(crate) fn span(&self) -> Option<Span> {
        match self {
            Self::NotFound { span, .. } | Self::Word { span, .. } => *span,
            Self::Mount { span, .. } => Some(*span),
            _ => None,
        }
    }

    /// Blames a word.
    pub(crate) fn at(self, span: Span) -> Self {
        match self {
            Self::Copy(message) => Self::Word {
                message,
                span: Some(span),
                hint: None,
            },
            error => error,
        }
    }

    /// The way out, where one is known.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { hint, .. } | Self::Word { hint, .. } | Self::Mount { hint, .. } => hint.clone(),
            Self::Changed { .. } => Some(
                "build again when nothing writes to it, or leave it out by a line in .dockerignore"
                    .to_owned(),
            ),
            Self::Source(error) => error.hint(),
            Self::Exit { code: 127, .. } => {
                Some("exit code 127 means that a command was not found in this stage's image".to_owned())
            }
            Self::Exit { code: 137, .. } => Some(
                "exit code 137 means that the process was killed, most often for want of memory".to_owned(),
            ),
            _ => None,
        }
    }
}
