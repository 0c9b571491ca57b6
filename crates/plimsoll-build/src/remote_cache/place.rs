//! Where caches are: reading and writing blobs and the document.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use plimsoll_oci::{Descriptor, Digest, ImageRef};
use plimsoll_registry::{
    ActionsCache, ActionsError, BlobSource, FailureKind, Pushing, Registry, RegistryError,
};

use super::config::ConfigError;
use super::layout::Layout;

/// Where a cache is.
#[derive(Clone)]
pub enum CachePlace {
    /// Under a name in a registry.
    Registry(Arc<Registry>, ImageRef),
    /// In a folder, as an OCI image layout.
    Local {
        /// The folder.
        folder: PathBuf,
        /// The name of the cache in it.
        tag: String,
        /// Which one, instead of by name.
        digest: Option<Digest>,
    },
    /// With the cache service of GitHub Actions.
    Actions(Arc<ActionsCache>, String),
    /// In the image that is built.
    Inline,
}

/// A cache to be imported.
#[derive(Clone)]
pub struct CacheFrom {
    /// Where it is.
    pub place: CachePlace,
    /// Cache mounts that have to be made begin with what it has of them.
    pub cache_mounts: bool,
}

/// Why a cache cannot be imported or exported.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// There is none yet.
    #[error("there is no cache")]
    Missing,
    /// A registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The cache service.
    #[error(transparent)]
    Actions(#[from] ActionsError),
    /// A folder.
    #[error("cannot {operation} `{}`", path.display())]
    Folder {
        /// What was being done.
        operation: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// What is there is no cache.
    #[error("what is there is no cache of this form: {0}")]
    NoCache(String),
    /// The document is not usable.
    #[error("its document is not usable: {0}")]
    Config(#[from] ConfigError),
    /// A blob is not what its digest says.
    #[error("blob `{0}` is not what its digest says")]
    WrongDigest(Digest),
    /// The store.
    #[error(transparent)]
    Store(#[from] plimsoll_store::StoreError),
    /// Packing layers.
    #[error(transparent)]
    Image(#[from] plimsoll_image::ImageError),
}

/// Takes a blob's bytes as they come.
pub(super) type Write<'a> = dyn FnMut(&[u8]) -> io::Result<()> + Send + 'a;

impl CachePlace {
    /// Returns what people call it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Registry(_, reference) => reference.familiar(),
            Self::Local { folder, .. } => folder.display().to_string(),
            Self::Actions(_, scope) => format!("GitHub Actions Cache, scope {scope}"),
            Self::Inline => "the image".to_owned(),
        }
    }

    /// Returns what BuildKit calls an export to it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Registry(..) => "registry",
            Self::Local { .. } => "client directory",
            Self::Actions(..) => "GitHub Actions Cache",
            Self::Inline => "image",
        }
    }

    /// Reads a blob from byte `offset` on.
    pub(super) async fn read(
        &self,
        blob: &Descriptor,
        offset: u64,
        write: &mut Write<'_>,
    ) -> Result<(), CacheError> {
        match self {
            Self::Registry(registry, reference) => Ok(registry.blob(reference, blob, offset, write).await?),
            Self::Local { folder, .. } => Layout::new(folder).read(digest_of(blob)?, offset, write),
            Self::Actions(cache, _) => match cache.find(&blob_key(&digest_of(blob)?)).await? {
                Some(entry) => Ok(cache.read(&entry, offset, blob.size(), write).await?),
                None => Err(CacheError::Missing),
            },
            Self::Inline => Err(CacheError::Missing),
        }
    }

    /// Tells whether a blob is there.
    pub(super) async fn has(&self, digest: &Digest) -> Result<bool, CacheError> {
        match self {
            Self::Registry(registry, reference) => Ok(registry.has_blob(reference, digest).await?),
            Self::Local { folder, .. } => Ok(Layout::new(folder).has(digest)),
            Self::Actions(cache, _) => Ok(cache.find(&blob_key(digest)).await?.is_some()),
            Self::Inline => Ok(true),
        }
    }

    /// Writes a blob, if it is not there.
    pub(super) async fn write(
        &self,
        digest: Digest,
        size: u64,
        source: Arc<dyn BlobSource>,
        report: Arc<dyn Fn(u64) + Send + Sync>,
    ) -> Result<(), CacheError> {
        match self {
            Self::Registry(registry, reference) => {
                let blob = Pushing {
                    digest,
                    size,
                    source,
                    mount_from: None,
                    report,
                };
                registry.push_blob(reference, &blob).await?;
                Ok(())
            }
            Self::Local { folder, .. } => {
                let layout = Layout::new(folder);
                blocking(move || layout.write(&digest, &*source, &*report)).await
            }
            Self::Actions(cache, _) => Ok(cache.save(&blob_key(&digest), size, &source, &report).await?),
            Self::Inline => Ok(()),
        }
    }
}

/// The name of a blob with the cache service.
fn blob_key(digest: &Digest) -> String {
    format!("plimsoll-blob-1-{digest}")
}

/// The name of the document of a scope and a branch with the cache service.
pub(super) fn index_key(scope: &str, branch: &str) -> String {
    format!("plimsoll-index-1-{scope}-{branch}")
}

pub(super) fn digest_of(blob: &Descriptor) -> Result<Digest, CacheError> {
    Digest::try_from(blob.digest()).map_err(|error| CacheError::NoCache(error.to_string()))
}

/// Whether an import simply came too early.
pub(super) fn is_missing(error: &CacheError) -> bool {
    match error {
        CacheError::Missing => true,
        CacheError::Registry(error) => error.kind() == FailureKind::NotFound,
        _ => false,
    }
}

/// Runs work that waits for disks.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CacheError> + Send + 'static,
) -> Result<T, CacheError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
