//! Reading the documents of caches.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use plimsoll_image::is_attestation;
use plimsoll_oci::{Descriptor, Digest, ImageConfig, ImageIndex, ImageManifest, ImageRef, MediaType};
use plimsoll_progress::Progress;
use plimsoll_registry::{ActionsCache, Registry};
use serde_json::Value;

use super::config::{CONFIG, CacheConfig, CacheLayer, INLINE};
use super::import::{Imported, ImportedCache};
use super::layout::Layout;
use super::place::{CacheError, CacheFrom, CachePlace, digest_of, index_key, is_missing};
use super::{chain, warning};

/// No document is longer.
const DOCUMENT_LIMIT: usize = 64 << 20;

/// Reads all caches at once. One that cannot be read is warned about; one that is not there yet is not.
pub(crate) async fn import(from: &[CacheFrom], progress: &Progress) -> Imported {
    let loads = from.iter().map(async |from| {
        let name = from.place.name();
        let task = progress.start(format!("importing cache manifest from {name}"));
        match load(&from.place).await {
            Ok(configs) => {
                task.done();
                configs
            }
            Err(error) if is_missing(&error) => {
                task.log(2, b"there is no cache yet\n");
                task.done();
                Vec::new()
            }
            Err(error) => {
                let reason = chain(&error);
                task.failed(&reason);
                progress.warn(warning(
                    "cache-import",
                    format!("the cache `{name}` is not used: {reason}"),
                ));
                Vec::new()
            }
        }
    });
    let mut caches = Vec::new();
    for (from, configs) in from.iter().zip(join_all(loads).await) {
        let cache = |config| ImportedCache::new(from, config);
        caches.extend(configs.into_iter().map(cache));
    }
    Imported::new(caches)
}

async fn load(place: &CachePlace) -> Result<Vec<CacheConfig>, CacheError> {
    match place {
        CachePlace::Registry(registry, reference) => from_registry(registry, reference).await,
        CachePlace::Local { folder, tag, digest } => {
            let layout = Layout::new(folder);
            let digest = match digest {
                Some(digest) => *digest,
                None => layout.find(tag)?,
            };
            let config = match Form::of(&layout.document(&digest)?)? {
                Form::Cache(config) => config,
                _ => return Err(CacheError::NoCache(format!("`{digest}` is an image"))),
            };
            let bytes = layout.document(&digest_of(&config)?)?;
            Ok(vec![CacheConfig::parse(&bytes)?])
        }
        CachePlace::Actions(cache, scope) => from_actions(cache, scope).await,
        CachePlace::Inline => Ok(Vec::new()),
    }
}

async fn from_actions(cache: &ActionsCache, scope: &str) -> Result<Vec<CacheConfig>, CacheError> {
    let mut configs = Vec::new();
    for branch in cache.scopes() {
        if let Some(entry) = cache.find_latest(&index_key(scope, &branch)).await? {
            let bytes = cache.read_document(&entry, DOCUMENT_LIMIT).await?;
            configs.push(CacheConfig::parse(&bytes)?);
        }
    }
    match configs.is_empty() {
        true => Err(CacheError::Missing),
        false => Ok(configs),
    }
}

async fn from_registry(registry: &Registry, reference: &ImageRef) -> Result<Vec<CacheConfig>, CacheError> {
    let manifest = registry.manifest(reference).await?;
    let images = match Form::of(&manifest.bytes)? {
        Form::Cache(config) => {
            let bytes = document(registry, reference, &config).await?;
            return Ok(vec![CacheConfig::parse(&bytes)?]);
        }
        Form::Image(image) => vec![*image],
        Form::Index(images) => {
            let mut found = Vec::new();
            for digest in images {
                let manifest = registry.manifest(&reference.with_digest(digest)).await?;
                if let Form::Image(image) = Form::of(&manifest.bytes)? {
                    found.push(*image);
                }
            }
            found
        }
    };
    let mut configs = Vec::new();
    for image in images {
        let bytes = document(registry, reference, image.config()).await?;
        configs.extend(inline(&image, &bytes)?);
    }
    match configs.is_empty() {
        true => Err(CacheError::NoCache(
            "it is an image without a cache in it".to_owned(),
        )),
        false => Ok(configs),
    }
}

/// The cache in an image's configuration, if it has one.
fn inline(image: &ImageManifest, config: &[u8]) -> Result<Option<CacheConfig>, CacheError> {
    let wrong = |error: serde_json::Error| CacheError::NoCache(error.to_string());
    let config: ImageConfig = serde_json::from_slice(config).map_err(wrong)?;
    let Some(text) = config.other.get(INLINE).and_then(Value::as_str) else {
        return Ok(None);
    };
    let bytes = STANDARD
        .decode(text)
        .map_err(|error| CacheError::NoCache(format!("`{INLINE}`: {error}")))?;
    let layers = image.layers().iter().zip(&config.rootfs.diff_ids).enumerate();
    let layers = layers.map(|(at, (descriptor, diff_id))| CacheLayer {
        descriptor: descriptor.clone(),
        diff_id: *diff_id,
        created: None,
        parent: at.checked_sub(1),
    });
    Ok(Some(CacheConfig::parse_inline(&bytes, layers.collect())?))
}

async fn document(
    registry: &Registry,
    reference: &ImageRef,
    blob: &Descriptor,
) -> Result<Vec<u8>, CacheError> {
    let digest = digest_of(blob)?;
    if blob.size() > DOCUMENT_LIMIT as u64 {
        return Err(CacheError::NoCache(format!(
            "its document has {} bytes",
            blob.size()
        )));
    }
    let mut bytes = Vec::new();
    let mut write = |piece: &[u8]| {
        bytes.extend_from_slice(piece);
        Ok(())
    };
    registry.blob(reference, blob, 0, &mut write).await?;
    match Digest::of(&bytes) == digest {
        true => Ok(bytes),
        false => Err(CacheError::WrongDigest(digest)),
    }
}

/// What a manifest or index turns out to be.
enum Form {
    /// A cache; this is its document.
    Cache(Box<Descriptor>),
    /// An image.
    Image(Box<ImageManifest>),
    /// Several images.
    Index(Vec<Digest>),
}

impl Form {
    fn of(bytes: &[u8]) -> Result<Self, CacheError> {
        let wrong = |error: serde_json::Error| CacheError::NoCache(error.to_string());
        let value: Value = serde_json::from_slice(bytes).map_err(wrong)?;
        let is_document = |blob: &Descriptor| *blob.media_type() == MediaType::from(CONFIG);
        if !value["manifests"].is_array() {
            let manifest: ImageManifest = serde_json::from_slice(bytes).map_err(wrong)?;
            return Ok(match is_document(manifest.config()) {
                true => Self::Cache(Box::new(manifest.config().clone())),
                false => Self::Image(Box::new(manifest)),
            });
        }
        let index: ImageIndex = serde_json::from_slice(bytes).map_err(wrong)?;
        if let Some(config) = index.manifests().iter().find(|entry| is_document(entry)) {
            return Ok(Self::Cache(Box::new(config.clone())));
        }
        let images = index.manifests().iter().filter(|entry| !is_attestation(entry));
        images.map(digest_of).collect::<Result<_, _>>().map(Self::Index)
    }
}
