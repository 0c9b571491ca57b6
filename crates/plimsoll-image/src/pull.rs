//! From a registry.

use std::io::Write as _;
use std::sync::Arc;

use plimsoll_oci::{Descriptor, Digest, ImageIndex, ImageRef, MediaType, Platform};
use plimsoll_progress::{Progress, Task};
use plimsoll_registry::{FetchedManifest, RegistryError};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{JoinSet, spawn_blocking};

use crate::{Image, ImageError, Images, Index, Result, document, rows};

/// Layers of one image that come at the same time, as in Docker.
const AT_ONCE: usize = 3;
/// Bytes between two reports of progress.
const STRIDE: u64 = 256 << 10;

/// What a pull brought.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// The image.
    pub image: Image,
    /// What the registry answered with: of the index, if there is one.
    pub digest: Digest,
    /// False if the name meant this image before.
    pub changed: bool,
}

impl Images {
    /// Returns the stored image for `platform`, pulled if it is not there, or if `always`.
    pub async fn obtain(
        &self,
        reference: &ImageRef,
        platform: &Platform,
        always: bool,
        progress: &Progress,
    ) -> Result<Image> {
        if !always && let Some(image) = self.find_for(&reference.to_string(), platform)? {
            self.store.protect()?;
            if self.touch(&image)? {
                return Ok(image);
            }
        }
        Ok(self
            .bring_named(reference, platform, false, progress)
            .await?
            .image)
    }

    /// Asks the registry what `reference` means now, brings what is missing, and gives it the name.
    pub async fn pull(
        &self,
        reference: &ImageRef,
        platform: &Platform,
        progress: &Progress,
    ) -> Result<Pulled> {
        self.bring_named(reference, platform, true, progress).await
    }

    /// A name that means the same index already keeps standing for the image it stood for, unless `chosen` says that this
    /// one is what it is about.
    async fn bring_named(
        &self,
        reference: &ImageRef,
        platform: &Platform,
        chosen: bool,
        progress: &Progress,
    ) -> Result<Pulled> {
        let task = Arc::new(progress.start(format!("pull {reference}")));
        let result = self.pull_reporting(reference, platform, chosen, &task).await;
        if result.is_ok() {
            self.event_of_name("pull", reference);
        }
        // Somebody else holds it only when a layer failed while others were still coming.
        if let Some(task) = Arc::into_inner(task) {
            match &result {
                Ok(pulled) if pulled.changed => task.done(),
                Ok(_) => task.cached(),
                Err(error) => task.failed(error),
            }
        }
        result
    }

    async fn pull_reporting(
        &self,
        reference: &ImageRef,
        platform: &Platform,
        chosen: bool,
        task: &Arc<Task>,
    ) -> Result<Pulled> {
        let _lease = self.store.lease()?;
        let answer = self.manifest(reference).await?;
        let digest = answer.digest;
        let index = match is_index(&answer.media_type) {
            true => Some(Index::parse(
                self.store.content().put(&answer.bytes)?,
                &answer.bytes,
            )?),
            false => None,
        };
        let manifest = self.choose(reference, platform, answer).await?;
        let before = self.manifest_of_name(&reference.to_string())?;
        let known = self
            .store
            .db()
            .read(|db| rows::size_of(db, &manifest.digest))?
            .is_some();
        let stored = match known {
            true => Some(self.read(manifest.digest)?),
            false => None,
        };
        let image = match stored {
            Some(image) if self.touch(&image)? => image,
            _ => self.bring(reference, &manifest, task).await?,
        };
        if !is_for(&image, platform) {
            return Err(no_platform(
                &reference.familiar(),
                platform,
                &[image.config.platform()],
            ));
        }
        let name = [reference.clone()];
        let meant = self.store.db().read(|db| rows::index_of_name(db, reference))?;
        let stands = index.is_some() && meant == index.as_ref().map(|index| index.digest);
        let named = reference.digest().is_none() && (chosen || !stands || is_for(&image, &Platform::host()));
        let registration = rows::Registration {
            image: &image,
            media_type: manifest.media_type,
            size: self.size(&image)?,
            names: if named { &name } else { &[] },
            pulled: Some((reference, digest)),
            index: index.as_ref(),
        };
        self.register(&[registration])?;
        let changed = before != Some(image.manifest_digest);
        Ok(Pulled {
            image,
            digest,
            changed,
        })
    }

    /// Downloads configuration and layers, and unpacks each layer when it and those below it are there.
    async fn bring(
        &self,
        reference: &ImageRef,
        manifest: &FetchedManifest,
        task: &Arc<Task>,
    ) -> Result<Image> {
        let what = format!("manifest of `{}`", reference.familiar());
        let parsed: plimsoll_oci::ImageManifest =
            serde_json::from_slice(&manifest.bytes).map_err(ImageError::parse(&what))?;
        if parsed.config().size() > document::DOCUMENT_LIMIT {
            return Err(ImageError::invalid(
                what,
                format!("its configuration has {} bytes", parsed.config().size()),
            ));
        }
        self.download(reference, parsed.config(), task).await?;
        self.store.content().put(&manifest.bytes)?;
        let image = self.read(manifest.digest)?;

        let slots = Arc::new(Semaphore::new(AT_ONCE));
        let mut downloads = JoinSet::new();
        let mut arrivals = Vec::new();
        for layer in image.manifest.layers().clone() {
            let (images, reference, task, slots) =
                (self.clone(), reference.clone(), task.clone(), slots.clone());
            let (arrived, arrival) = oneshot::channel();
            arrivals.push(arrival);
            downloads.spawn(async move {
                let _slot = slots.acquire().await;
                // Nobody waits any more when another layer has failed.
                let _ = arrived.send(images.download(&reference, &layer, &task).await);
            });
        }
        let chain = document::chain_ids(&image.config.rootfs.diff_ids);
        let mut parent = None;
        for (at, arrival) in arrivals.into_iter().enumerate() {
            arrival
                .await
                .map_err(|_| ImageError::GivenUp(reference.familiar()))??;
            let (images, layer) = (self.clone(), image.manifest.layers()[at].clone());
            let (diff_id, chain_id) = (image.config.rootfs.diff_ids[at], chain[at]);
            let unpacked =
                spawn_blocking(move || images.unpack_layer(parent, &layer, diff_id, &chain_id)).await;
            parent = Some(unpacked.map_err(|_| ImageError::GivenUp(reference.familiar()))??);
        }
        // Their tasks have answered, and let go of the progress when they have ended too.
        while downloads.join_next().await.is_some() {}
        Ok(image)
    }

    /// Brings one blob into the content store, continuing what an earlier attempt left.
    pub(crate) async fn download(&self, reference: &ImageRef, blob: &Descriptor, task: &Task) -> Result<()> {
        let digest = document::digest_of(blob, "a descriptor")?;
        let (id, size) = (digest.short(), blob.size());
        if self.store.content().touch(&[digest])? {
            task.count(&id, size, size);
            return Ok(());
        }
        loop {
            let mut ingest = self.store.content().ingest(Some(digest))?;
            if ingest.offset() > size {
                ingest.restart()?;
            }
            let offset = ingest.offset();
            let mut reported = offset;
            let mut write = |bytes: &[u8]| {
                ingest.write_all(bytes)?;
                if ingest.offset() - reported >= STRIDE {
                    reported = ingest.offset();
                    task.count(&id, reported, size);
                }
                Ok(())
            };
            let fetched = self.registry.blob(reference, blob, offset, &mut write).await;
            fetched.map_err(|error| pull_error(reference, error))?;
            let committed = spawn_blocking(move || ingest.commit()).await;
            match committed.map_err(|_| ImageError::GivenUp(reference.familiar()))? {
                // What was there before may have been the wrong part.
                Err(plimsoll_store::StoreError::WrongDigest { .. }) if offset > 0 => {}
                Err(error) => return Err(error.into()),
                Ok(_) => {
                    task.count(&id, size, size);
                    return Ok(());
                }
            }
        }
    }

    async fn manifest(&self, reference: &ImageRef) -> Result<FetchedManifest> {
        self.registry
            .manifest(reference)
            .await
            .map_err(|error| pull_error(reference, error))
    }

    /// Follows an index to the image for `platform`.
    async fn choose(
        &self,
        reference: &ImageRef,
        platform: &Platform,
        answer: FetchedManifest,
    ) -> Result<FetchedManifest> {
        if !is_index(&answer.media_type) {
            return Ok(answer);
        }
        let what = format!("index of `{}`", reference.familiar());
        let index: ImageIndex = serde_json::from_slice(&answer.bytes).map_err(ImageError::parse(&what))?;
        let Some(chosen) = for_platform(index.manifests(), platform) else {
            let available: Vec<_> = index.manifests().iter().filter_map(platform_of).collect();
            return Err(no_platform(&reference.familiar(), platform, &available));
        };
        let digest = document::digest_of(chosen, &what)?;
        let manifest = self.manifest(&reference.with_digest(digest)).await?;
        if is_index(&manifest.media_type) {
            return Err(ImageError::invalid(
                what,
                "its entry for the platform is another index",
            ));
        }
        Ok(manifest)
    }
}

fn pull_error(reference: &ImageRef, source: RegistryError) -> ImageError {
    ImageError::Pull {
        name: reference.familiar(),
        source: Box::new(source),
    }
}

/// Images without an architecture are taken for any.
pub(crate) fn is_for(image: &Image, platform: &Platform) -> bool {
    image.config.architecture.is_empty() || image.config.platform().satisfies(platform)
}

pub(crate) fn no_platform(name: &str, wanted: &Platform, available: &[Platform]) -> ImageError {
    let available = available
        .iter()
        .map(Platform::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    ImageError::NoPlatform {
        name: name.to_owned(),
        wanted: wanted.clone(),
        available,
    }
}

/// Tells whether a media type is an index, OCI's or Docker's.
pub(crate) fn is_index(media_type: &str) -> bool {
    *media_type == *MediaType::ImageIndex.to_string()
        || media_type == "application/vnd.docker.distribution.manifest.list.v2+json"
}

/// Returns the platform of an index entry; attestations have the platform `unknown` and count as none.
pub(crate) fn platform_of(entry: &Descriptor) -> Option<Platform> {
    let platform = entry.platform().as_ref()?;
    let (os, architecture) = (platform.os().to_string(), platform.architecture().to_string());
    (os != "unknown").then(|| Platform::normalised(&os, &architecture, platform.variant().as_deref()))
}

/// Chooses the entry for `platform`: the very one, or else one that runs there too.
pub(crate) fn for_platform<'a>(entries: &'a [Descriptor], platform: &Platform) -> Option<&'a Descriptor> {
    let exact = entries
        .iter()
        .find(|entry| platform_of(entry).as_ref() == Some(platform));
    exact.or_else(|| {
        entries
            .iter()
            .find(|entry| platform_of(entry).is_some_and(|have| have.satisfies(platform)))
    })
}

#[cfg(test)]
mod tests {
    use plimsoll_testkit::{BaseRegistry, needs};

    use super::*;
    use crate::testing::Sandbox;

    fn name(text: &str) -> ImageRef {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn pulls_through_a_faulty_mirror_once() {
        needs!(root, tool = "docker-registry");
        let kit = BaseRegistry::serve(&["busybox"], &["--fail-first", "1", "--kinds", "500,cut"]);
        let sandbox = Sandbox::with_mirror(Some(&kit.host));
        let (busybox, host) = (name("busybox"), Platform::host());
        let first = sandbox
            .images
            .pull(&busybox, &host, &Progress::none())
            .await
            .unwrap();
        assert!(
            first.changed && first.digest != first.image.manifest_digest,
            "the index's digest"
        );
        assert_eq!(sandbox.names(), ["busybox:latest"]);
        let line = sandbox.images.list().unwrap().remove(0);
        assert_eq!(line.digest, Some(first.digest));
        assert!(
            !sandbox
                .images
                .pull(&busybox, &host, &Progress::none())
                .await
                .unwrap()
                .changed
        );
        drop(kit);
        // From here on the registry has gone.
        let offline = Sandbox {
            images: sandbox.images.clone(),
            folder: tempfile::tempdir().unwrap(),
        };
        let pinned = busybox.with_digest(first.digest);
        for reference in [&busybox, &pinned] {
            let image = offline
                .images
                .obtain(reference, &host, false, &Progress::none())
                .await
                .unwrap();
            assert_eq!(image.id, first.image.id);
        }
        assert!(
            offline
                .images
                .obtain(&busybox, &host, true, &Progress::none())
                .await
                .is_err()
        );
    }

    #[tokio::test]
    async fn platforms_are_told_apart() {
        needs!(root, tool = "docker-registry");
        let kit = BaseRegistry::serve(&["busybox"], &[]);
        let sandbox = Sandbox::with_mirror(Some(&kit.host));
        let busybox = name("busybox");
        let mut architectures = Vec::new();
        for platform in ["linux/amd64", "linux/arm64"] {
            let platform: Platform = platform.parse().unwrap();
            let image = sandbox
                .images
                .obtain(&busybox, &platform, false, &Progress::none())
                .await
                .unwrap();
            architectures.push(image.config.architecture);
        }
        assert_eq!(architectures, ["amd64", "arm64"]);
        let plan9 = "plan9/mips".parse().unwrap();
        let error = sandbox
            .images
            .obtain(&busybox, &plan9, false, &Progress::none())
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "`busybox:latest` has no image for plan9/mips: it has linux/amd64, linux/arm64"
        );
    }

    #[tokio::test]
    async fn a_digest_names_without_a_tag() {
        needs!(root, tool = "docker-registry");
        let kit = BaseRegistry::serve(&["busybox"], &[]);
        let sandbox = Sandbox::with_mirror(Some(&kit.host));
        let digest = sandbox
            .images
            .registry
            .manifest(&name("busybox"))
            .await
            .unwrap()
            .digest;
        let pinned = name("busybox").with_digest(digest);
        sandbox
            .images
            .pull(&pinned, &Platform::host(), &Progress::none())
            .await
            .unwrap();
        assert_eq!(sandbox.names(), [pinned.familiar()]);
    }
}
