//! What can go wrong with images.

use std::io;

use plimsoll_layer::{Compression, LayerError};
use plimsoll_oci::{Digest, DigestError, Platform, ReferenceError};
use plimsoll_registry::RegistryError;
use plimsoll_store::StoreError;

/// Why something could not be done with an image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// No image goes by this name or id.
    #[error("no such image: `{name}`")]
    NotFound {
        /// What was looked up.
        name: String,
        /// A stored name that is near.
        nearest: Option<String>,
    },
    /// The beginning of an id that several images share.
    #[error("`{prefix}` is the beginning of {count} image ids")]
    Ambiguous {
        /// What was looked up.
        prefix: String,
        /// How many there are.
        count: usize,
    },
    /// The image may not be removed.
    #[error("conflict: unable to remove image `{name}` ({}): {reason}", if *forceable { "must be forced" } else { "cannot be forced" })]
    Conflict {
        /// What was to be removed.
        name: String,
        /// Why not.
        reason: String,
        /// Whether `--force` helps.
        forceable: bool,
    },
    /// A name with a digest cannot be given, only pulled.
    #[error("`{0}` names a digest: a tag cannot be made to mean one")]
    TagWithDigest(String),
    /// Not an image reference.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The image is there, for other platforms.
    #[error("`{name}` has no image for {wanted}: it has {available}")]
    NoPlatform {
        /// The image.
        name: String,
        /// What was asked for.
        wanted: Platform,
        /// What there is.
        available: String,
    },
    /// A registry did not give what was asked for.
    #[error("cannot pull `{name}`")]
    Pull {
        /// The image.
        name: String,
        /// Why.
        #[source]
        source: Box<RegistryError>,
    },
    /// It is neither here nor could a registry be asked.
    #[error("cannot look at `{name}`")]
    Look {
        /// The image.
        name: String,
        /// Why.
        #[source]
        source: Box<RegistryError>,
    },
    /// A registry did not take it.
    #[error("cannot push `{name}`")]
    Push {
        /// The image.
        name: String,
        /// Why.
        #[source]
        source: Box<RegistryError>,
    },
    /// The stream of an archive broke, or is no tar archive.
    #[error("cannot read the image archive")]
    ReadArchive(#[source] io::Error),
    /// A blob of an archive could not be kept.
    #[error("cannot store a layer of the image archive")]
    WriteBlob(#[source] io::Error),
    /// An archive could not be written.
    #[error("cannot write the image archive")]
    WriteArchive(#[source] io::Error),
    /// The archive is a tar archive and yet no image archive.
    #[error("the image archive is not usable: {0}")]
    BadArchive(String),
    /// A file of an image layout could not be read.
    #[error("cannot read `{}` of the image layout", path.display())]
    ReadLayout {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of an image layout could not be written.
    #[error("cannot write `{}` of the image layout", path.display())]
    WriteLayout {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A manifest, config or index that cannot be read.
    #[error("cannot make sense of {what}")]
    Parse {
        /// Which document.
        what: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A document that contradicts itself.
    #[error("{what} is not valid: {reason}")]
    Invalid {
        /// Which document.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A digest other than sha256, in a document.
    #[error("{what} has an unusable digest")]
    Digest {
        /// Which document.
        what: String,
        /// Why.
        #[source]
        source: DigestError,
    },
    /// A blob that should be there is not.
    #[error("{what} `{digest}` is missing")]
    MissingBlob {
        /// What it would be.
        what: &'static str,
        /// Its digest.
        digest: Digest,
    },
    /// A layer could not be read from the store.
    #[error("cannot read layer `{digest}`")]
    ReadLayer {
        /// The layer's blob.
        digest: Digest,
        /// Why.
        #[source]
        source: LayerError,
    },
    /// A layer could not be packed for elsewhere.
    #[error("cannot write layer as {compression}")]
    Pack {
        /// Into what.
        compression: Compression,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A layer could not be unpacked.
    #[error("cannot unpack layer `{digest}`")]
    Unpack {
        /// The layer's blob.
        digest: Digest,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The table of images.
    #[error("cannot use the table of images")]
    Database(#[from] rusqlite::Error),
    /// Work was given to a thread, and the thread has ended without doing it.
    #[error("the work on `{0}` was given up")]
    GivenUp(String),
}

impl ImageError {
    pub(crate) fn parse(what: impl Into<String>) -> impl FnOnce(serde_json::Error) -> Self {
        move |source| Self::Parse {
            what: what.into(),
            source,
        }
    }

    pub(crate) fn invalid(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid {
            what: what.into(),
            reason: reason.into(),
        }
    }
}
