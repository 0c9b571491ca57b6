//! From an [image layout]: a folder of blobs with an `index.json`.
//!
//! [image layout]: https://github.com/opencontainers/image-spec/blob/main/image-layout.md

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use plimsoll_oci::{Descriptor, Digest, ImageIndex, ImageManifest, Platform};

use crate::load::REF_NAME;
use crate::pull::{for_platform, is_for, is_index, no_platform, platform_of};
use crate::{Image, ImageError, Images, Result, document};

/// Returns the digest of the image that a layout has under `tag`, `latest` if none is given; a layout of one image has
/// that under any tag but another one.
pub fn layout_digest(layout: &Path, tag: Option<&str>) -> Result<Digest> {
    let path = layout.join("index.json");
    let bytes = read_document(&path)?;
    let index: ImageIndex =
        serde_json::from_slice(&bytes).map_err(ImageError::parse(format!("`{}`", path.display())))?;
    let named = |entry: &&Descriptor| {
        let name = entry.annotations().as_ref().and_then(|all| all.get(REF_NAME));
        let name = name.map(|name| name.rsplit_once(':').map_or(name.as_str(), |(_, tag)| tag));
        name == Some(tag.unwrap_or("latest"))
    };
    let found = index.manifests().iter().find(named);
    let alone = || match index.manifests().as_slice() {
        [entry] if tag.is_none() => Some(entry),
        _ => None,
    };
    match found.or_else(alone) {
        Some(entry) => document::digest_of(entry, "`index.json` of the layout"),
        None => Err(ImageError::NotFound {
            name: format!("{}:{}", layout.display(), tag.unwrap_or("latest")),
            nearest: None,
        }),
    }
}

impl Images {
    /// Brings an image of a layout into the store, unnamed and unpacked. It stays as long as something is built on it.
    pub fn from_layout(&self, layout: &Path, digest: Digest, platform: &Platform) -> Result<Image> {
        self.store.protect()?;
        let mut digest = digest;
        let mut bytes = verified(layout, digest)?;
        let media_type = media_type(&bytes)?;
        if is_index(&media_type) {
            let what = format!("index `{digest}`");
            let index: ImageIndex = serde_json::from_slice(&bytes).map_err(ImageError::parse(&what))?;
            let Some(chosen) = for_platform(index.manifests(), platform) else {
                let available: Vec<_> = index.manifests().iter().filter_map(platform_of).collect();
                return Err(no_platform(&layout.display().to_string(), platform, &available));
            };
            digest = document::digest_of(chosen, &what)?;
            bytes = verified(layout, digest)?;
        }
        let manifest: ImageManifest =
            serde_json::from_slice(&bytes).map_err(ImageError::parse(format!("manifest `{digest}`")))?;
        for blob in [manifest.config()].into_iter().chain(manifest.layers()) {
            self.take_blob(layout, document::digest_of(blob, "the layout's manifest")?)?;
        }
        self.store.content().put(&bytes)?;
        let image = self.read(digest)?;
        if !is_for(&image, platform) {
            let available = [image.config.platform()];
            return Err(no_platform(&layout.display().to_string(), platform, &available));
        }
        self.snapshot(&image)?;
        Ok(image)
    }

    fn take_blob(&self, layout: &Path, digest: Digest) -> Result<()> {
        if self.store.content().touch(&[digest])? {
            return Ok(());
        }
        let mut file = open(&blob(layout, digest))?;
        let mut ingest = self.store.content().ingest(Some(digest))?;
        ingest.restart()?;
        io::copy(&mut file, &mut ingest).map_err(ImageError::WriteBlob)?;
        ingest.commit()?;
        Ok(())
    }
}

fn blob(layout: &Path, digest: Digest) -> std::path::PathBuf {
    layout.join("blobs/sha256").join(digest.hex())
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|source| ImageError::ReadLayout {
        path: path.to_owned(),
        source,
    })
}

fn read_document(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = open(path)?.take(document::DOCUMENT_LIMIT).read_to_end(&mut bytes);
    read.map_err(|source| ImageError::ReadLayout {
        path: path.to_owned(),
        source,
    })?;
    Ok(bytes)
}

fn verified(layout: &Path, digest: Digest) -> Result<Vec<u8>> {
    let bytes = read_document(&blob(layout, digest))?;
    match Digest::of(&bytes) {
        actual if actual == digest => Ok(bytes),
        actual => Err(ImageError::invalid(
            format!("blob `{digest}` of `{}`", layout.display()),
            format!("it has digest `{actual}`"),
        )),
    }
}

/// The document's own word for it; a document with entries is an index in any case.
fn media_type(bytes: &[u8]) -> Result<String> {
    let json: serde_json::Value =
        serde_json::from_slice(bytes).map_err(ImageError::parse("a document of the layout"))?;
    Ok(match json["mediaType"].as_str() {
        Some(media_type) => media_type.to_owned(),
        None if json["manifests"].is_array() => plimsoll_oci::MediaType::ImageIndex.to_string(),
        None => String::new(),
    })
}
