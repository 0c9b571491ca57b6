//! What can go wrong with a container.

use std::io;
use std::path::PathBuf;

use camino::Utf8PathBuf;

/// Why something could not be done with a container.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// Nothing has this name or id.
    #[error("No such container: {name}")]
    NotFound {
        /// What was looked for.
        name: String,
        /// The nearest name there is.
        suggestion: Option<String>,
    },
    /// An id prefix that several containers share.
    #[error("container id prefix `{0}` is ambiguous")]
    Ambiguous(String),
    /// Another container has the name.
    #[error(
        "the container name `/{name}` is already in use by container {id}; remove or rename that container to use the name again"
    )]
    NameInUse {
        /// The name.
        name: String,
        /// Who has it.
        id: String,
    },
    /// A name Docker would refuse.
    #[error(
        "invalid container name `{0}`: only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed, and at least two characters"
    )]
    InvalidName(String),
    /// A name for a volume that Docker would refuse.
    #[error(
        "\"{0}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed; if you intended to pass a host directory, use an absolute path"
    )]
    InvalidVolumeName(String),
    /// Nothing has this name.
    #[error("no such volume: {0}")]
    NoVolume(String),
    /// A volume that is to be removed is in use.
    #[error("volume is in use: {name} - [{}]", containers.join(", "))]
    VolumeInUse {
        /// Its name.
        name: String,
        /// Ids of those that have it.
        containers: Vec<String>,
    },
    /// Neither the image nor the user says what to run.
    #[error("no command specified")]
    NoCommand,
    /// An option whose value makes no sense here.
    #[error("{0}")]
    Option(String),
    /// The source of `--mount type=bind` does not exist.
    #[error("bind source path does not exist: {0}")]
    BindSource(Utf8PathBuf),
    /// A file that a container was given is not known any more, after a reboot.
    #[error("what the container was given as {0} is gone: it was kept in memory only")]
    FileForgotten(Utf8PathBuf),
    /// `cp` between these two paths makes no sense.
    #[error("{0}")]
    Copy(String),
    /// The container does not run.
    #[error("container {0} is not running")]
    NotRunning(String),
    /// The container runs, and what was asked needs it stopped.
    #[error(
        "cannot remove container `/{0}`: container is running: stop the container before removing or force remove"
    )]
    Running(String),
    /// The container could not be started, or a process in it.
    #[error("{message}")]
    Start {
        /// 125, 126 or 127.
        code: i32,
        /// The whole story.
        message: String,
    },
    /// The supervisor ended without a word.
    #[error("the supervisor of container {id} died while starting it{detail}")]
    ShimDied {
        /// Container.
        id: String,
        /// What it wrote before, if anything.
        detail: String,
    },
    /// The supervisor does not answer.
    #[error("cannot talk to the supervisor of container {id}")]
    Shim {
        /// Container.
        id: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of the container cannot be read or written.
    #[error("cannot {operation} {}", path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A file of the container says something else than it should.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Where.
        #[source]
        source: serde_json::Error,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] plimsoll_store::StoreError),
    /// The database failed.
    #[error("cannot use the database")]
    Database(#[from] rusqlite::Error),
    /// The image of the container could not be had, or a new one not be made.
    #[error(transparent)]
    Image(#[from] plimsoll_image::ImageError),
    /// The network failed.
    #[error(transparent)]
    Network(#[from] plimsoll_network::NetworkError),
    /// A port of the container cannot be had.
    #[error("failed to set up container networking on {network}: {source}")]
    Ports {
        /// The network it would be reached by.
        network: String,
        /// Why.
        source: plimsoll_network::NetworkError,
    },
    /// The runtime failed.
    #[error(transparent)]
    Runtime(#[from] plimsoll_runtime::RuntimeError),
    /// A background task of this process was cut off.
    #[error("work was interrupted")]
    Interrupted,
}

/// The crate's result.
pub type Result<T, E = ContainerError> = std::result::Result<T, E>;

impl ContainerError {
    /// Returns the exit code `run` and `exec` give for this error: what the runtime said, 125 for the rest.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Start { code, .. } => *code,
            Self::Runtime(error) => error.exit_code(),
            _ => 125,
        }
    }

    /// Makes an error about a file.
    pub(crate) fn file(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            operation,
            path,
            source,
        }
    }
}
