//! `imagetools`: indexes, looked at and made in registries.

pub(crate) mod create;
pub(crate) mod inspect;

use plimsoll_image::{Document, Images, Peeked, is_attestation};
use plimsoll_oci::{Descriptor, ImageConfig, Platform};
use serde_json::{Map, Value, json};

use crate::command_error::CommandError;

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER: &str = "application/vnd.docker.";

/// An image or attestation that is to be listed.
pub(super) struct Listed {
    /// Its entry.
    pub(super) entry: Map<String, Value>,
    /// What it is.
    pub(super) part: Peeked,
}

/// Returns what a source lists: itself, if it is one image.
pub(super) async fn listed(images: &Images, source: &Peeked) -> Result<Vec<Listed>, CommandError> {
    let Some(index) = source.index()? else {
        let mut entry = source.top.descriptor();
        if let Some(platform) = platform(images, source).await? {
            entry.insert("platform".to_owned(), platform_value(&platform));
        }
        let part = source.clone();
        return Ok(vec![Listed { entry, part }]);
    };
    let raw: Value = serde_json::from_slice(&source.top.bytes).unwrap_or_default();
    let mut all = Vec::new();
    for (at, entry) in index.manifests().iter().enumerate() {
        let part = images.peek_part(source, entry).await?;
        // As it stands there: fields that we do not know stay.
        let entry = raw["manifests"][at].as_object().cloned().unwrap_or_default();
        all.push(Listed { entry, part });
    }
    Ok(all)
}

/// What an image is for; nothing for what is no image.
pub(super) async fn platform(images: &Images, image: &Peeked) -> Result<Option<Platform>, CommandError> {
    let manifest = image.manifest()?;
    let bytes = images.peek_blob(image, manifest.config()).await?;
    let config: Option<ImageConfig> = serde_json::from_slice(&bytes).ok();
    Ok(config.map(|config| config.platform()))
}

pub(super) fn platform_value(platform: &Platform) -> Value {
    let mut value = json!({"architecture": platform.architecture, "os": platform.os});
    if let Some(variant) = &platform.variant {
        value["variant"] = variant.as_str().into();
    }
    value
}

/// Makes an index: Docker's where everything in it is Docker's.
pub(super) fn index(entries: Vec<Map<String, Value>>, annotations: Map<String, Value>) -> Document {
    let is_docker = |entry: &Map<String, Value>| {
        entry
            .get("mediaType")
            .and_then(Value::as_str)
            .is_some_and(|kind| kind.starts_with(DOCKER))
    };
    let docker = entries.iter().all(is_docker) && annotations.is_empty();
    let media_type = if docker { DOCKER_LIST } else { OCI_INDEX };
    let mut index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": entries});
    if !annotations.is_empty() {
        index["annotations"] = annotations.into();
    }
    Document::new(media_type, &index)
}

/// The images of an index, attestations apart.
pub(super) fn images_of(entries: &[Descriptor]) -> impl Iterator<Item = &Descriptor> {
    entries.iter().filter(|entry| !is_attestation(entry))
}
