//! What can go wrong, and which exit code Docker gives it.

use std::io;
use std::path::{Path, PathBuf};

/// A failure of the runtime; [`RuntimeError::exit_code`] is Docker's code for it.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// A plain input or output error outside the container.
    #[error("runtime input or output failed")]
    Io(#[from] io::Error),
    /// The same, naming what was being done to what.
    #[error("cannot {operation} `{path}`")]
    Path {
        /// A verb.
        operation: &'static str,
        /// What it was done to.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The program cannot be found or executed; Docker's own words.
    #[error("{message}")]
    Program {
        /// `exec: "foo": executable file not found in $PATH`.
        message: String,
        /// 126 or 127.
        exit_code: i32,
    },
    /// The user or group is not in the root's passwd or group.
    #[error("{0}")]
    User(#[from] crate::user::UserError),
    /// The request itself is wrong: `unknown capability: "CAP_FOO"`.
    #[error("{0}")]
    Invalid(String),
    /// A seccomp profile that cannot be read.
    #[error("seccomp profile is not valid: {reason}")]
    Profile {
        /// What is wrong with it.
        reason: String,
    },
    /// The container could not be made.
    #[error("cannot {operation} container: {detail}")]
    Container {
        /// A verb.
        operation: &'static str,
        /// The deepest cause the runtime library named.
        detail: String,
    },
    /// Called where it must not be, or in the wrong order.
    #[error("{0}")]
    Misuse(&'static str),
    /// The runner process failed or ended without an answer.
    #[error("{message}")]
    Runner {
        /// What it said, or how it ended.
        message: String,
        /// Docker's code.
        exit_code: i32,
    },
}

impl RuntimeError {
    /// Docker's code for a container that never started: 126 cannot execute, 127 not found, 125 otherwise.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Program { exit_code, .. } | Self::Runner { exit_code, .. } => *exit_code,
            _ => 125,
        }
    }

    /// For `map_err`: names the operation and the path.
    pub(crate) fn path<E: Into<io::Error>>(operation: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        move |source| Self::Path {
            operation,
            path: path.to_owned(),
            source: source.into(),
        }
    }

    /// The whole chain on one line, for the wire and for logs.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let line = error.to_string();
            if !text.ends_with(&line) {
                text = format!("{text}: {line}");
            }
            cause = error.source();
        }
        text
    }
}
