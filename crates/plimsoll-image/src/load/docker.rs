//! `docker save`'s archives: [manifest.json].
//!
//! [manifest.json]: https://github.com/moby/docker-image-spec/blob/main/v1.2.md#combined-image-json--filesystem-changeset-format

use std::io::Read as _;

use plimsoll_oci::{Descriptor, Digest, ImageRef, MediaType};
use serde::Deserialize;

use super::Found;
use super::archive::Archive;
use crate::{ImageError, Result, document};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

pub(super) fn find(archive: &Archive<'_>) -> Result<Vec<Found>> {
    let entries: Vec<Entry> = serde_json::from_slice(&archive.document("manifest.json")?)
        .map_err(ImageError::parse("`manifest.json` of the archive"))?;
    entries.iter().map(|entry| image(archive, entry)).collect()
}

fn image(archive: &Archive<'_>, entry: &Entry) -> Result<Found> {
    let config = archive.document(&entry.config)?;
    check_name(&entry.config, &config)?;
    let layers = entry
        .layers
        .iter()
        .flatten()
        .map(|name| layer(archive, name))
        .collect::<Result<_>>()?;
    let manifest = document::put_manifest(archive.content, &config, layers, true)?;
    let names = entry
        .repo_tags
        .iter()
        .flatten()
        .map(|name| name.parse())
        .collect::<Result<Vec<ImageRef>, _>>()?;
    Ok(Found {
        manifest,
        media_type: MediaType::ImageManifest.to_string(),
        names,
        index: None,
        stands_for_others: true,
    })
}

/// A configuration is named after its digest; an archive whose files were exchanged is not what it says.
fn check_name(name: &str, config: &[u8]) -> Result<()> {
    let digest = Digest::of(config);
    let stem = name
        .strip_suffix(".json")
        .and_then(|hex| Digest::from_hex(hex).ok());
    match stem {
        Some(stem) if stem != digest => {
            Err(ImageError::BadArchive(format!("`{name}` has digest `{digest}`")))
        }
        _ => Ok(()),
    }
}

fn layer(archive: &Archive<'_>, name: &str) -> Result<Descriptor> {
    let (digest, size) = archive.blob(name)?;
    let mut magic = Vec::new();
    let blob = archive.content.open(&digest)?;
    blob.take(4)
        .read_to_end(&mut magic)
        .map_err(ImageError::ReadArchive)?;
    let suffix = match magic.as_slice() {
        [0x1f, 0x8b, ..] => "+gzip",
        [0x28, 0xb5, 0x2f, 0xfd] => "+zstd",
        _ => "",
    };
    let media_type = format!("{}{suffix}", document::TAR_LAYER);
    Ok(Descriptor::new(
        MediaType::from(media_type.as_str()),
        size,
        digest,
    ))
}
