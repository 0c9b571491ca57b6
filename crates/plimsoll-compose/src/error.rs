//! What can go wrong with a project.

use std::io;

use plimsoll_container::ContainerError;

/// Why a project could not be made what its files say.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// A service was named that the project has not.
    #[error("no such service: {name}")]
    NoService {
        /// The name.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// The project cannot be read as plain data.
    #[error("the project's normal form is damaged")]
    Model(#[source] serde_json::Error),
    /// A network that belongs to somebody else is not there.
    #[error("network {0} declared as external, but could not be found")]
    NoNetwork(String),
    /// A volume that belongs to somebody else is not there.
    #[error("external volume \"{0}\" not found")]
    NoVolume(String),
    /// A name is taken by a network or volume that is not the project's.
    #[error(
        "{kind} {name} was found but has incorrect label {label} set to \"{value}\" (expected: \"{expected}\")"
    )]
    NotOurs {
        /// `network` or `volume`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The label that says whose it is.
        label: &'static str,
        /// What that says.
        value: String,
        /// What it should say.
        expected: String,
    },
    /// A key of a service has a value that makes no sense here.
    #[error("service {service}: {key}: {reason}")]
    Key {
        /// The service.
        service: String,
        /// The key.
        key: String,
        /// What is wrong with its value.
        reason: String,
    },
    /// The image of a service is not here.
    #[error("service {service}: no such image: {image}")]
    NoImage {
        /// The service.
        service: String,
        /// The image.
        image: String,
    },
    /// A container that others wait for did not become what they wait for.
    #[error("{message}")]
    Dependency {
        /// The whole sentence.
        message: String,
        /// The container that failed.
        container: String,
        /// The last lines it wrote, or its health check.
        tail: Vec<String>,
    },
    /// `--wait` took too long.
    #[error("timeout waiting for {}", .0.join(", "))]
    Timeout(Vec<String>),
    /// A container could not be worked on.
    #[error("cannot {operation} container {name}")]
    Container {
        /// What was tried.
        operation: &'static str,
        /// With which.
        name: String,
        /// Why it failed.
        #[source]
        source: Box<ContainerError>,
    },
    /// A hook failed.
    #[error("{hook} hook of {container} exited with status {code}")]
    Hook {
        /// `pre_start`, `post_start` or `pre_stop`.
        hook: &'static str,
        /// The container.
        container: String,
        /// Its exit code.
        code: i32,
        /// What it wrote.
        tail: Vec<String>,
    },
    /// An update was taken back, or left where it was.
    #[error("update of service {service} {outcome}: {reason}")]
    Update {
        /// The service.
        service: String,
        /// `rolled back` or `paused`.
        outcome: &'static str,
        /// Why.
        reason: String,
        /// The container that failed, and what it wrote last, where one did.
        failed: Option<(String, Vec<String>)>,
    },
    /// Other containers cannot be used.
    #[error(transparent)]
    Containers(#[from] ContainerError),
    /// The network failed.
    #[error(transparent)]
    Network(#[from] plimsoll_network::NetworkError),
    /// The image could not be had.
    #[error(transparent)]
    Image(#[from] plimsoll_image::ImageError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] plimsoll_store::StoreError),
    /// A file cannot be read.
    #[error("cannot read {path}")]
    File {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A background task of this process was cut off.
    #[error("work was interrupted")]
    Interrupted,
}

/// The crate's result.
pub type Result<T, E = ComposeError> = std::result::Result<T, E>;
