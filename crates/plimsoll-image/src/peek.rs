//! Looking at images where they are, in the store or in a registry, without bringing them here; and making further
//! indexes of them there.

use std::collections::HashSet;
use std::io::{self, Read};
use std::sync::Arc;

use plimsoll_oci::{Descriptor, Digest, ImageIndex, ImageManifest, ImageRef};
use plimsoll_progress::{Progress, Task};
use plimsoll_registry::{BlobSource, Pushing, RegistryError};
use plimsoll_store::ContentStore;

use crate::index::Document;
use crate::pull::is_index;
use crate::{ImageError, Images, Result, document};

/// An image or index, looked at.
#[derive(Clone, Debug)]
pub struct Peeked {
    /// What it was looked up as.
    pub name: ImageRef,
    /// Its manifest or index.
    pub top: Document,
}

impl Peeked {
    /// Returns the index, if it is one.
    pub fn index(&self) -> Result<Option<ImageIndex>> {
        match is_index(&self.top.media_type) {
            true => self.parse().map(Some),
            false => Ok(None),
        }
    }

    /// Returns the manifest, for what is no index.
    pub fn manifest(&self) -> Result<ImageManifest> {
        self.parse()
    }

    fn parse<T: serde::de::DeserializeOwned>(&self) -> Result<T> {
        let what = format!("`{}`", self.name.familiar());
        serde_json::from_slice(&self.top.bytes).map_err(ImageError::parse(what))
    }

    /// The part of it that has this digest, looked up in the same place.
    fn part(&self, digest: Digest) -> ImageRef {
        self.name.with_digest(digest)
    }
}

impl Images {
    /// Looks at what a name means. The registry's word counts for what came from one or went there; for what was only
    /// ever built here, and when no registry answers, the store's.
    pub async fn peek(&self, name: &ImageRef) -> Result<Peeked> {
        let stored = self.peek_stored(name)?;
        if let Some(stored) = &stored
            && !self.is_known_to_registry(name)?
        {
            return Ok(stored.clone());
        }
        match (self.registry.manifest(name).await, stored) {
            (Ok(fetched), _) => Ok(Peeked {
                name: name.clone(),
                top: Document {
                    media_type: fetched.media_type,
                    digest: fetched.digest,
                    bytes: fetched.bytes,
                },
            }),
            (Err(_), Some(stored)) => Ok(stored),
            (Err(error), None) => Err(look_error(name, error)),
        }
    }

    /// As [`Images::peek`], for a part of what was looked at.
    pub async fn peek_part(&self, whole: &Peeked, part: &Descriptor) -> Result<Peeked> {
        let digest = document::digest_of(part, "an index")?;
        let name = whole.part(digest);
        if self.store.content().size(&digest)?.is_some() {
            let bytes = document::read(self.store.content(), &digest, "manifest")?;
            let media_type = part.media_type().to_string();
            let top = Document {
                media_type,
                digest,
                bytes,
            };
            return Ok(Peeked { name, top });
        }
        let fetched = self.registry.manifest(&name).await;
        let fetched = fetched.map_err(|error| look_error(&name, error))?;
        let top = Document {
            media_type: fetched.media_type,
            digest: fetched.digest,
            bytes: fetched.bytes,
        };
        Ok(Peeked { name, top })
    }

    /// Returns a small blob of what was looked at: a configuration, a statement.
    pub async fn peek_blob(&self, whole: &Peeked, blob: &Descriptor) -> Result<Vec<u8>> {
        let digest = document::digest_of(blob, "a manifest")?;
        if self.store.content().size(&digest)?.is_some() {
            return document::read(self.store.content(), &digest, "document");
        }
        let what = format!("blob `{digest}`");
        if blob.size() > document::DOCUMENT_LIMIT {
            return Err(ImageError::invalid(what, format!("it has {} bytes", blob.size())));
        }
        let mut bytes = Vec::new();
        let mut write = |piece: &[u8]| -> io::Result<()> {
            bytes.extend_from_slice(piece);
            Ok(())
        };
        let fetched = self.registry.blob(&whole.name, blob, 0, &mut write).await;
        fetched.map_err(|error| look_error(&whole.name, error))?;
        match Digest::of(&bytes) {
            actual if actual == digest => Ok(bytes),
            actual => Err(ImageError::invalid(what, format!("it has digest `{actual}`"))),
        }
    }

    fn peek_stored(&self, name: &ImageRef) -> Result<Option<Peeked>> {
        let text = name.to_string();
        let top = match self.index(&text)? {
            Some(index) => {
                let media_type = index.document.media_type().as_ref();
                let media_type = media_type
                    .unwrap_or(&plimsoll_oci::MediaType::ImageIndex)
                    .to_string();
                (index.digest, media_type)
            }
            None => match self.find(&text)? {
                Some(image) => {
                    let media_type = image.manifest.media_type().as_ref();
                    let media_type = media_type.unwrap_or(&plimsoll_oci::MediaType::ImageManifest);
                    (image.manifest_digest, media_type.to_string())
                }
                None => return Ok(None),
            },
        };
        let (digest, media_type) = top;
        let bytes = document::read(self.store.content(), &digest, "manifest")?;
        let top = Document {
            media_type,
            digest,
            bytes,
        };
        Ok(Some(Peeked {
            name: name.clone(),
            top,
        }))
    }

    fn is_known_to_registry(&self, name: &ImageRef) -> Result<bool> {
        let Some(image) = self.find(&name.to_string())? else {
            return Ok(false);
        };
        let same =
            |known: &ImageRef| (known.registry(), known.repository()) == (name.registry(), name.repository());
        Ok(self.digests(&image)?.iter().any(same))
    }

    /// Pushes a document of parts that were looked at, each with what it needs that the registry has not, and then the
    /// document under `name`.
    pub async fn push_made(
        &self,
        name: &ImageRef,
        made: &Document,
        parts: &[Peeked],
        progress: &Progress,
    ) -> Result<()> {
        let _lease = self.store.lease()?;
        let task = Arc::new(progress.start(format!("pushing {}", name.familiar())));
        let result = self.push_parts_of(name, made, parts, &task).await;
        if let Some(task) = Arc::into_inner(task) {
            match &result {
                Ok(()) => task.done(),
                Err(error) => task.failed(error),
            }
        }
        result
    }

    async fn push_parts_of(
        &self,
        name: &ImageRef,
        made: &Document,
        parts: &[Peeked],
        task: &Arc<Task>,
    ) -> Result<()> {
        let mut done = HashSet::new();
        for part in parts {
            let same = (part.name.registry(), part.name.repository()) == (name.registry(), name.repository());
            if same && self.peek_remote(part).await {
                continue;
            }
            let manifest = part.manifest()?;
            for blob in [manifest.config()].into_iter().chain(manifest.layers()) {
                let digest = document::digest_of(blob, "a manifest")?;
                if done.insert(digest) {
                    self.copy_blob(&part.name, name, blob, digest, task).await?;
                }
            }
            let target = name.with_digest(part.top.digest);
            self.put_document(&target, &part.top).await?;
        }
        self.put_document(name, made).await
    }

    /// Whether the registry has the very manifest.
    async fn peek_remote(&self, part: &Peeked) -> bool {
        let name = part.part(part.top.digest);
        self.registry.manifest(&name).await.is_ok()
    }

    async fn put_document(&self, name: &ImageRef, made: &Document) -> Result<()> {
        let pushed = self
            .registry
            .push_manifest(name, &made.media_type, &made.bytes)
            .await;
        pushed.map(drop).map_err(|source| push_error(name, source))
    }

    /// Has the target's registry take a blob over from its own other repository; else it goes by way of the store.
    async fn copy_blob(
        &self,
        from: &ImageRef,
        to: &ImageRef,
        blob: &Descriptor,
        digest: Digest,
        task: &Arc<Task>,
    ) -> Result<()> {
        let stored = || self.store.content().size(&digest);
        let mut pushing = Pushing {
            digest,
            size: blob.size(),
            source: Arc::new(Absent),
            mount_from: (from.registry() == to.registry()).then(|| from.repository().to_owned()),
            report: Arc::new(|_| {}),
        };
        if stored()?.is_none() {
            if self.registry.push_blob(to, &pushing).await.is_ok() {
                return Ok(());
            }
            self.download(from, blob, task).await?;
        }
        pushing.source = Arc::new(Stored(self.store.content().clone(), digest));
        let pushed = self.registry.push_blob(to, &pushing).await;
        pushed.map(drop).map_err(|source| push_error(to, source))
    }
}

/// For a blob that is to be taken over where it is: nothing is sent.
struct Absent;

impl BlobSource for Absent {
    fn open(&self, _offset: u64) -> io::Result<Box<dyn Read + Send>> {
        Err(io::ErrorKind::NotFound.into())
    }
}

struct Stored(ContentStore, Digest);

impl BlobSource for Stored {
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let mut file = self.0.open(&self.1).map_err(io::Error::other)?;
        io::Seek::seek(&mut file, io::SeekFrom::Start(offset))?;
        Ok(Box::new(file))
    }
}

fn look_error(name: &ImageRef, source: RegistryError) -> ImageError {
    ImageError::Look {
        name: name.familiar(),
        source: Box::new(source),
    }
}

fn push_error(name: &ImageRef, source: RegistryError) -> ImageError {
    ImageError::Push {
        name: name.familiar(),
        source: Box::new(source),
    }
}
