//! Manifests and configurations: from the content store and into it.

use plimsoll_oci::{Descriptor, Digest, ImageConfig, ImageManifest, ImageManifestBuilder, MediaType};
use plimsoll_store::ContentStore;

use crate::{Image, ImageError};

/// Registries take manifests of 4 MiB; configurations of real images stay far below this.
pub(crate) const DOCUMENT_LIMIT: u64 = 8 << 20;

/// The media type of a tar layer that is not compressed.
pub(crate) const TAR_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Returns the digest of a descriptor in `what`.
pub(crate) fn digest_of(descriptor: &Descriptor, what: &str) -> Result<Digest, ImageError> {
    let wrong = |source| ImageError::Digest {
        what: what.to_owned(),
        source,
    };
    Digest::try_from(descriptor.digest()).map_err(wrong)
}

/// Reads a document; `what` names it in errors.
pub(crate) fn read(
    content: &ContentStore,
    digest: &Digest,
    what: &'static str,
) -> Result<Vec<u8>, ImageError> {
    match content.size(digest)? {
        None => Err(ImageError::MissingBlob {
            what,
            digest: *digest,
        }),
        Some(size) if size > DOCUMENT_LIMIT => Err(ImageError::invalid(
            format!("{what} `{digest}`"),
            format!("it has {size} bytes, more than {DOCUMENT_LIMIT}"),
        )),
        Some(_) => Ok(content.read(digest, DOCUMENT_LIMIT)?),
    }
}

/// Reads an image and checks that its parts fit together.
pub(crate) fn read_image(content: &ContentStore, manifest_digest: Digest) -> Result<Image, ImageError> {
    let what = format!("manifest `{manifest_digest}`");
    let bytes = read(content, &manifest_digest, "manifest")?;
    let manifest: ImageManifest = serde_json::from_slice(&bytes).map_err(ImageError::parse(&what))?;
    let id = digest_of(manifest.config(), &what)?;
    let config = read(content, &id, "image configuration")?;
    let config: ImageConfig =
        serde_json::from_slice(&config).map_err(ImageError::parse(format!("image configuration `{id}`")))?;
    let (layers, diff_ids) = (manifest.layers().len(), config.rootfs.diff_ids.len());
    if layers != diff_ids {
        return Err(ImageError::invalid(
            what,
            format!("it has {layers} layers, its configuration {diff_ids}"),
        ));
    }
    for layer in manifest.layers() {
        digest_of(layer, &what)?;
    }
    Ok(Image {
        id,
        manifest_digest,
        manifest,
        config,
    })
}

/// Stores a manifest of these parts, with media types of the OCI specification or Docker's, and returns its digest.
pub(crate) fn put_manifest(
    content: &ContentStore,
    config: &[u8],
    layers: Vec<Descriptor>,
    oci: bool,
) -> Result<Digest, ImageError> {
    let id = content.put(config)?;
    let (manifest, kind) = match oci {
        true => (MediaType::ImageManifest, CONFIG),
        false => (MediaType::from(DOCKER_MANIFEST), DOCKER_CONFIG),
    };
    let config = Descriptor::new(MediaType::from(kind), config.len() as u64, id);
    let manifest = ImageManifestBuilder::default()
        .schema_version(2_u32)
        .media_type(manifest)
        .config(config)
        .layers(layers)
        .build()
        .expect("all fields are set");
    let bytes = serde_json::to_vec(&manifest).expect("a manifest is JSON");
    Ok(content.put(&bytes)?)
}

/// Returns the [chain ids] of layers, base first.
///
/// [chain ids]: https://github.com/opencontainers/image-spec/blob/main/config.md#layer-chainid
pub(crate) fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chain: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        chain.push(plimsoll_store::chain_id(chain.last(), diff_id));
    }
    chain
}
