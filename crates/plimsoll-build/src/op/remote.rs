//! ADD of a URL or a repository, and contexts that are such: what was fetched, as files for others to copy from.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;

use plimsoll_oci::{Digest, Hasher};
use plimsoll_progress::Task;
use plimsoll_store::Store;
use tokio::sync::OnceCell;

use super::{Output, Services, blocking};
use crate::error::OpError;
use crate::source::{GitUrl, SourceError, set_time};

/// One file of the web, 0600 as in BuildKit.
pub(crate) struct HttpOp {
    pub(crate) url: String,
    /// What it is called in the snapshot.
    pub(crate) name: String,
    /// `--checksum`: with it nothing is asked for to know the key.
    pub(crate) checksum: Option<Digest>,
    pub(crate) digest: OnceCell<Digest>,
}

/// A commit of a repository.
pub(crate) struct GitOp {
    pub(crate) url: GitUrl,
    pub(crate) commit: OnceCell<String>,
}

impl HttpOp {
    pub(crate) fn new(url: &str, name: &str, checksum: Option<Digest>) -> Self {
        Self {
            url: url.to_owned(),
            name: name.to_owned(),
            checksum,
            digest: OnceCell::new(),
        }
    }

    pub(super) fn definition(&self) -> Digest {
        let mut hasher = Hasher::new();
        hasher.field("http");
        hasher.field(format!("{:?}", (&self.url, &self.name, &self.checksum)));
        hasher.finish()
    }

    /// Name and bytes, not the URL: another server with the same file changes nothing.
    pub(super) async fn key(&self, services: &Services) -> Result<Digest, OpError> {
        let mut hasher = Hasher::new();
        hasher.field("http");
        hasher.field(&self.name);
        hasher.field(self.digest(services).await?.as_bytes());
        Ok(hasher.finish())
    }

    /// Digest of the file, as far as it was asked for.
    pub(super) fn known_digest(&self) -> Option<Digest> {
        self.checksum.or(self.digest.get().copied())
    }

    async fn digest(&self, services: &Services) -> Result<Digest, OpError> {
        if let Some(checksum) = self.checksum {
            return Ok(checksum);
        }
        let digest = self.digest.get_or_try_init(async || {
            services.store.protect()?;
            let file = services.sources.web_file(&self.url, &services.progress).await?;
            Ok::<_, SourceError>(file.digest)
        });
        Ok(*digest.await?)
    }

    pub(super) async fn run(
        &self,
        services: &Services,
        content: Digest,
        task: &Task,
    ) -> Result<Output, OpError> {
        let digest = self.digest(services).await?;
        services.store.protect()?;
        let file = services.sources.web_blob(&self.url, digest, task).await?;
        let (store, name) = (services.store.clone(), self.name.clone());
        blocking(move || {
            let active = store.snapshots().prepare(None)?;
            let path = active.upper().join(name);
            copy_blob(&store, &digest, &path)?;
            set_time(&path, file.modified())?;
            Ok(Output {
                snapshot: store.snapshots().commit(active)?,
                content,
            })
        })
        .await
    }
}

fn copy_blob(store: &Store, digest: &Digest, path: &std::path::Path) -> Result<(), OpError> {
    let mut from = store.content().open(digest)?;
    let mut to = File::create_new(path).map_err(OpError::io("create", path))?;
    io::copy(&mut from, &mut to).map_err(OpError::io("write", path))?;
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(OpError::io("change mode of", path))
}

impl GitOp {
    pub(super) fn definition(&self) -> Digest {
        let mut hasher = Hasher::new();
        hasher.field("git");
        hasher.field(format!("{:?}", self.url));
        hasher.finish()
    }

    pub(crate) fn new(url: GitUrl) -> Self {
        Self {
            url,
            commit: OnceCell::new(),
        }
    }

    /// The commit and what is taken of it, not where it came from. Only with `.git` kept its remote is in the files.
    pub(super) async fn key(&self, services: &Services) -> Result<Digest, OpError> {
        let mut hasher = Hasher::new();
        hasher.field("git");
        hasher.field(self.commit(services).await?);
        hasher.field(self.url.subdir.as_deref().unwrap_or_default());
        hasher.field(if self.url.without_submodules { "bare" } else { "" });
        if self.url.keep_git_dir {
            hasher.field(self.url.shown());
        }
        Ok(hasher.finish())
    }

    async fn commit(&self, services: &Services) -> Result<&str, OpError> {
        let commit = self
            .commit
            .get_or_try_init(|| services.sources.git_commit(&self.url));
        Ok(commit.await?)
    }

    pub(super) async fn run(&self, services: &Services, content: Digest) -> Result<Output, OpError> {
        let commit = self.commit(services).await?;
        let store = services.store.clone();
        let active = blocking(move || Ok(store.snapshots().prepare(None)?)).await?;
        let (upper, work) = (active.upper(), active.work());
        services
            .sources
            .git_checkout(&self.url, commit, upper, work)
            .await?;
        let store = services.store.clone();
        blocking(move || {
            Ok(Output {
                snapshot: store.snapshots().commit(active)?,
                content,
            })
        })
        .await
    }
}
