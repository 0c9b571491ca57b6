//! To a registry.
//!
//! Blobs go first, several at once, then the manifests that name them, and the tag last: whoever pulls meanwhile gets
//! the image that was there before, or this one. Nothing is kept of a push that was broken off but what the registry
//! has; the next one asks for that.

mod rows;

use std::collections::{HashMap, HashSet};
use std::io::{self, Read, Seek as _, SeekFrom};
use std::sync::Arc;

use plimsoll_layer::Compression;
use plimsoll_oci::{Descriptor, Digest, ImageManifest, ImageRef, MediaType, Platform};
use plimsoll_progress::{Progress, Task};
use plimsoll_registry::{BlobPush, BlobSource, Pushing, RegistryError};
use plimsoll_store::ContentStore;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};

use crate::{
    Attestation, Document, Image, ImageError, Images, Index, IndexEntry, IndexForm, NewIndex, Packing,
    Result, document, pull,
};

/// Blobs that are sent at the same time, as in Docker.
const AT_ONCE: usize = 5;
/// Bytes between two reports of progress.
const STRIDE: u64 = 256 << 10;
const OCTETS: &str = "application/octet-stream";

/// What a push left in the registry.
#[derive(Clone, Debug)]
pub struct Pushed {
    /// Of the manifest or index.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its bytes.
    pub size: u64,
    /// The layers by the digest of their tar, and how the registry came to have each. The bottom one comes first.
    pub layers: Vec<(Digest, LayerPush)>,
    /// The index that the name means here, if only one image of it was pushed because the others are not here.
    pub part_of: Option<Digest>,
}

/// How a registry came to have a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayerPush {
    /// It had it.
    Existed,
    /// It had it in this other repository.
    MountedFrom(String),
    /// It was sent.
    Sent,
}

/// A blob of the store.
struct StoredBlob {
    content: ContentStore,
    digest: Digest,
}

impl BlobSource for StoredBlob {
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let mut file = self.content.open(&self.digest).map_err(io::Error::other)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(Box::new(file))
    }
}

impl Images {
    /// Pushes what `name` means, to where it says: an index as a whole, or of it the image for `platform`.
    ///
    /// What was pulled goes as it came. Layers that were built here are packed first.
    pub async fn push(
        &self,
        name: &ImageRef,
        platform: Option<&Platform>,
        packing: &Packing,
        progress: &Progress,
    ) -> Result<Pushed> {
        let _lease = self.store.lease()?;
        let text = name.to_string();
        let index = self.index(&text)?;
        let complete = match &index {
            Some(index) => self.is_complete(index)? && self.touch_index(index)?,
            None => false,
        };
        if let (Some(index), None, true) = (&index, platform, complete) {
            let stored = self.images_of(index)?;
            let (images, new) = self.outgoing_index(index, &stored, packing, progress).await?;
            let pushed = self.push_index(name, &images, &new, progress).await?;
            self.note_pushed(name, pushed.digest, &stored)?;
            return Ok(pushed);
        }
        let stored = match platform {
            Some(platform) => self.for_platform(&text, platform)?,
            None => self.get(&text)?,
        };
        let image = self.outgoing(&stored, packing, progress).await?;
        let mut pushed = self.push_image(name, &image, progress).await?;
        pushed.part_of = index.map(|index| index.digest).filter(|_| platform.is_none());
        self.note_pushed(name, pushed.digest, std::slice::from_ref(&stored))?;
        Ok(pushed)
    }

    fn for_platform(&self, name: &str, platform: &Platform) -> Result<Image> {
        let images = match self.index(name)? {
            Some(index) => self.images_of(&index)?,
            None => vec![self.get(name)?],
        };
        let found = images.iter().find(|image| pull::is_for(image, platform));
        let available = || {
            images
                .iter()
                .map(|image| image.config.platform())
                .collect::<Vec<_>>()
        };
        found
            .cloned()
            .ok_or_else(|| pull::no_platform(name, platform, &available()))
    }

    /// Pushes an image all of whose blobs are in the store: one that was pulled, or that [`Images::pack`] made.
    pub async fn push_image(&self, name: &ImageRef, image: &Image, progress: &Progress) -> Result<Pushed> {
        let task = Arc::new(progress.start("pushing layers"));
        let pushed = self.push_blobs(name, image, &task).await;
        let layers = finish(task, pushed)?;
        let bytes = document::read(self.store.content(), &image.manifest_digest, "manifest")?;
        let media_type = media_type(image);
        self.put(name, &media_type, image.manifest_digest, &bytes, progress)
            .await?;
        Ok(Pushed {
            digest: image.manifest_digest,
            media_type,
            size: bytes.len() as u64,
            layers,
            part_of: None,
        })
    }

    /// Pushes images and the index that lists them; all of their blobs have to be in the store.
    pub async fn push_index(
        &self,
        name: &ImageRef,
        images: &[Image],
        index: &NewIndex,
        progress: &Progress,
    ) -> Result<Pushed> {
        let task = Arc::new(progress.start("pushing layers"));
        let pushed = self.push_parts(name, images, index, &task).await;
        let layers = finish(task, pushed)?;
        let document = &index.index;
        self.put(
            name,
            &document.media_type,
            document.digest,
            &document.bytes,
            progress,
        )
        .await?;
        Ok(Pushed {
            digest: document.digest,
            media_type: document.media_type.clone(),
            size: document.bytes.len() as u64,
            layers,
            part_of: None,
        })
    }

    async fn push_parts(
        &self,
        name: &ImageRef,
        images: &[Image],
        index: &NewIndex,
        task: &Arc<Task>,
    ) -> Result<Vec<(Digest, LayerPush)>> {
        let mut layers = Vec::new();
        for image in images {
            for layer in self.push_blobs(name, image, task).await? {
                if !layers.iter().any(|(known, _)| *known == layer.0) {
                    layers.push(layer);
                }
            }
            let bytes = document::read(self.store.content(), &image.manifest_digest, "manifest")?;
            let reference = name.with_digest(image.manifest_digest);
            let pushed = self
                .registry
                .push_manifest(&reference, &media_type(image), &bytes)
                .await;
            pushed.map_err(push_error(name))?;
        }
        for document in &index.others {
            let pushed = match document.is_manifest() {
                true => {
                    let reference = name.with_digest(document.digest);
                    self.registry
                        .push_manifest(&reference, &document.media_type, &document.bytes)
                        .await
                }
                false => {
                    let blob = Pushing {
                        digest: document.digest,
                        size: document.bytes.len() as u64,
                        source: Arc::new(document.bytes.clone()),
                        mount_from: None,
                        report: Arc::new(|_| {}),
                    };
                    self.registry.push_blob(name, &blob).await.map(drop)
                }
            };
            pushed.map_err(push_error(name))?;
        }
        Ok(layers)
    }

    /// Gives a manifest its name in the registry, which makes everything visible.
    async fn put(
        &self,
        name: &ImageRef,
        media_type: &str,
        digest: Digest,
        bytes: &[u8],
        progress: &Progress,
    ) -> Result<()> {
        let task = Arc::new(progress.start(format!("pushing manifest for {name}@{digest}")));
        let pushed = self.registry.push_manifest(name, media_type, bytes).await;
        finish(task, pushed.map_err(push_error(name)))
    }

    /// Pushes configuration and layers.
    async fn push_blobs(
        &self,
        name: &ImageRef,
        image: &Image,
        task: &Arc<Task>,
    ) -> Result<Vec<(Digest, LayerPush)>> {
        let elsewhere = Arc::new(self.repositories(name)?);
        let slots = Arc::new(Semaphore::new(AT_ONCE));
        let mut pushes = JoinSet::new();
        let layers = image.manifest.layers().iter().zip(&image.config.rootfs.diff_ids);
        let layers = layers.map(|(layer, diff_id)| (layer, Some(*diff_id)));
        let mut seen = HashSet::new();
        for (blob, diff_id) in layers.chain([(image.manifest.config(), None)]) {
            let digest = document::digest_of(blob, "a manifest")?;
            if !seen.insert(digest) {
                continue;
            }
            let (images, name, task, slots) = (self.clone(), name.clone(), task.clone(), slots.clone());
            let from = diff_id.and_then(|diff_id| elsewhere.get(&diff_id).cloned());
            let size = blob.size();
            pushes.spawn(async move {
                let _slot = slots.acquire().await;
                let pushed = images.push_blob(&name, digest, size, from.clone(), &task).await?;
                Ok::<_, ImageError>((diff_id, layer_push(pushed, from)))
            });
        }
        let mut outcome = HashMap::new();
        while let Some(pushed) = pushes.join_next().await {
            let (diff_id, pushed) = pushed.map_err(|_| ImageError::GivenUp(name.familiar()))??;
            outcome.extend(diff_id.map(|diff_id| (diff_id, pushed)));
        }
        let diff_ids = image.config.rootfs.diff_ids.iter();
        Ok(diff_ids
            .filter_map(|diff_id| Some((*diff_id, outcome.remove(diff_id)?)))
            .collect())
    }

    async fn push_blob(
        &self,
        name: &ImageRef,
        digest: Digest,
        size: u64,
        mount_from: Option<String>,
        task: &Arc<Task>,
    ) -> Result<BlobPush> {
        let id = digest.short();
        let (counter, counted) = (Arc::clone(task), id.clone());
        let reported = std::sync::atomic::AtomicU64::new(0);
        let report = move |sent: u64| {
            use std::sync::atomic::Ordering::Relaxed;
            if sent.abs_diff(reported.load(Relaxed)) >= STRIDE && sent < size {
                reported.store(sent, Relaxed);
                counter.count(&counted, sent, size);
            }
        };
        let source = StoredBlob {
            content: self.store.content().clone(),
            digest,
        };
        let blob = Pushing {
            digest,
            size,
            source: Arc::new(source),
            mount_from,
            report: Arc::new(report),
        };
        let pushed = self.registry.push_blob(name, &blob).await;
        let pushed = pushed.map_err(push_error(name))?;
        task.count(&id, size, size);
        Ok(pushed)
    }

    /// Returns the image as it goes out: as it came if it was pulled, else with its layers packed.
    async fn outgoing(&self, image: &Image, packing: &Packing, progress: &Progress) -> Result<Image> {
        if self.goes_as_it_is(image)? {
            return Ok(image.clone());
        }
        let task = Arc::new(progress.start("exporting layers"));
        let (images, stored, packing) = (self.clone(), image.clone(), *packing);
        let packed = spawn_blocking(move || images.pack(&stored, &packing)).await;
        finish(
            task,
            packed.map_err(|_| ImageError::GivenUp(image.id.to_string()))?,
        )
    }

    /// Tells whether the very manifest can be pushed: every layer is a blob, and compressed unless a registry gave it so.
    fn goes_as_it_is(&self, image: &Image) -> Result<bool> {
        let mut plain = false;
        let mut blobs = vec![image.manifest_digest, image.id];
        for layer in image.manifest.layers() {
            blobs.push(document::digest_of(layer, "a layer")?);
            let compression = Compression::of_media_type(layer.media_type().as_ref());
            plain |= compression == Some(Compression::Uncompressed);
        }
        let was_given = || {
            self.store
                .db()
                .read(|db| rows::was_given(db, &image.manifest_digest))
        };
        Ok((!plain || was_given()?) && self.store.content().touch(&blobs)?)
    }

    /// As [`Images::outgoing`] for an index. If an image of it changes, statements about that are made out anew.
    async fn outgoing_index(
        &self,
        index: &Index,
        stored: &[Image],
        packing: &Packing,
        progress: &Progress,
    ) -> Result<(Vec<Image>, NewIndex)> {
        let mut images = Vec::with_capacity(stored.len());
        for image in stored {
            images.push(self.outgoing(image, packing, progress).await?);
        }
        let same = |(out, stored): (&Image, &Image)| out.manifest_digest == stored.manifest_digest;
        let new = match images.iter().zip(stored).all(same) {
            true => self.as_it_is(index)?,
            false => self.made_out_anew(index, stored, &images)?,
        };
        Ok((images, new))
    }

    /// The stored index with the stored documents that it needs besides images.
    fn as_it_is(&self, index: &Index) -> Result<NewIndex> {
        let mut others = Vec::new();
        for digest in self
            .attestation_blobs(index)?
            .into_iter()
            .filter(|digest| *digest != index.digest)
        {
            others.push(self.document(digest)?);
        }
        // Manifests after what they name.
        others.sort_by_key(Document::is_manifest);
        Ok(NewIndex {
            index: self.document(index.digest)?,
            others,
        })
    }

    fn document(&self, digest: Digest) -> Result<Document> {
        let bytes = document::read(self.store.content(), &digest, "document")?;
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let media_type = value["mediaType"].as_str().unwrap_or(OCTETS).to_owned();
        Ok(Document {
            media_type,
            digest,
            bytes,
        })
    }

    fn made_out_anew(&self, index: &Index, stored: &[Image], images: &[Image]) -> Result<NewIndex> {
        let mut entries = Vec::with_capacity(images.len());
        for (before, image) in stored.iter().zip(images) {
            let digest = before.manifest_digest.to_string();
            let listed = index.document.manifests().iter();
            let listed = listed
                .into_iter()
                .find(|entry| entry.digest().to_string() == digest);
            let annotations = listed
                .and_then(|entry| entry.annotations().clone())
                .unwrap_or_default();
            let size = self.store.content().size(&image.manifest_digest)?;
            entries.push(IndexEntry {
                media_type: media_type(image),
                digest: image.manifest_digest,
                size: size.unwrap_or_default(),
                platform: image.config.platform(),
                annotations: annotations.into_iter().collect(),
                attestations: self.attestations(index, &digest)?,
            });
        }
        let annotations = index.document.annotations().clone().unwrap_or_default();
        let form = IndexForm {
            annotations: annotations.into_iter().collect(),
            ..IndexForm::default()
        };
        Ok(NewIndex::new(&entries, &form))
    }

    /// Reads what is stated about an image of an index.
    fn attestations(&self, index: &Index, image: &str) -> Result<Vec<Attestation>> {
        let about = |entry: &&Descriptor| {
            let annotations = entry.annotations().as_ref();
            annotations
                .and_then(|all| all.get(crate::REFERENCE_DIGEST))
                .is_some_and(|digest| digest == image)
        };
        let content = self.store.content();
        let mut all = Vec::new();
        for entry in index.document.manifests().iter().filter(about) {
            let what = "attestation";
            let digest = document::digest_of(entry, what)?;
            let bytes = document::read(content, &digest, what)?;
            let manifest: ImageManifest = serde_json::from_slice(&bytes).map_err(ImageError::parse(what))?;
            for layer in manifest.layers() {
                let bytes = document::read(content, &document::digest_of(layer, what)?, what)?;
                let statement: serde_json::Value =
                    serde_json::from_slice(&bytes).map_err(ImageError::parse(what))?;
                all.push(Attestation {
                    predicate_type: statement["predicateType"].as_str().unwrap_or_default().to_owned(),
                    predicate: statement["predicate"].clone(),
                });
            }
        }
        Ok(all)
    }

    /// Returns for layers, by the digest of their tar, another repository of the registry that was seen to have them.
    fn repositories(&self, name: &ImageRef) -> Result<HashMap<Digest, String>> {
        let prefix = format!("{}/", name.registry());
        let mut found = HashMap::new();
        for (repository, config) in self.store.db().read(|db| rows::repositories(db, &prefix))? {
            let repository = repository[prefix.len()..].to_owned();
            if repository == name.repository() {
                continue;
            }
            let config = document::read(self.store.content(), &config, "image configuration")?;
            let Ok(config) = serde_json::from_slice::<plimsoll_oci::ImageConfig>(&config) else {
                continue;
            };
            let layers = config.rootfs.diff_ids.into_iter();
            found.extend(layers.map(|diff_id| (diff_id, repository.clone())));
        }
        Ok(found)
    }

    /// From now on images go by the digest under which the registry has them, too.
    pub fn note_pushed(&self, name: &ImageRef, digest: Digest, images: &[Image]) -> Result<()> {
        self.event_of_name("push", name);
        Ok(self.store.db().write(|db| {
            images
                .iter()
                .try_for_each(|image| rows::note_digest(db, name, &digest, &image.manifest_digest))
        })?)
    }
}

fn media_type(image: &Image) -> String {
    let media_type = image.manifest.media_type().as_ref();
    media_type.unwrap_or(&MediaType::ImageManifest).to_string()
}

fn layer_push(pushed: BlobPush, from: Option<String>) -> LayerPush {
    match (pushed, from) {
        (BlobPush::Existed, _) => LayerPush::Existed,
        (BlobPush::Mounted, Some(from)) => LayerPush::MountedFrom(from),
        (BlobPush::Mounted | BlobPush::Sent, _) => LayerPush::Sent,
    }
}

fn push_error(name: &ImageRef) -> impl Fn(RegistryError) -> ImageError {
    move |source| ImageError::Push {
        name: name.familiar(),
        source: Box::new(source),
    }
}

/// Ends a task as its work ended; somebody else holds it only when a blob failed while others were still going.
fn finish<T>(task: Arc<Task>, result: Result<T>) -> Result<T> {
    match (Arc::into_inner(task), &result) {
        (Some(task), Ok(_)) => task.done(),
        (Some(task), Err(error)) => task.failed(error),
        (None, _) => {}
    }
    result
}

#[cfg(test)]
mod tests;
