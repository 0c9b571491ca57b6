//! An OCI image layout: blobs as they are, each once.

use std::collections::HashMap;
use std::io;

use plimsoll_oci::{Descriptor, Digest, ImageIndex, ImageRef, MediaType};

use super::Tar;
use crate::load::{CONTAINERD_NAME, REF_NAME};
use crate::{Image, ImageError, Images, Result, document};

pub(super) fn save(images: &Images, list: &[(Image, Vec<ImageRef>)], tar: &mut Tar<'_>) -> Result<()> {
    tar.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    let mut entries = Vec::new();
    for (image, names) in list {
        write_layers(images, image, tar)?;
        let content = images.store.content();
        tar.file(
            &path(&image.id),
            &document::read(content, &image.id, "image configuration")?,
        )?;
        let manifest = document::read(content, &image.manifest_digest, "manifest")?;
        tar.file(&path(&image.manifest_digest), &manifest)?;
        let media_type = image
            .manifest
            .media_type()
            .clone()
            .unwrap_or(MediaType::ImageManifest);
        let descriptor = Descriptor::new(media_type, manifest.len() as u64, image.manifest_digest);
        if names.is_empty() {
            entries.push(descriptor.clone());
        }
        entries.extend(names.iter().map(|name| named(descriptor.clone(), name)));
    }
    let mut index = ImageIndex::default();
    index.set_schema_version(2);
    index.set_media_type(Some(MediaType::ImageIndex));
    index.set_manifests(entries);
    // By way of a value: annotations are in a hash map, whose order changes from run to run.
    let mut index = serde_json::to_value(&index).expect("an index is JSON");
    index.sort_all_objects();
    tar.file(
        "index.json",
        &serde_json::to_vec(&index).expect("an index is JSON"),
    )
}

fn write_layers(images: &Images, image: &Image, tar: &mut Tar<'_>) -> Result<()> {
    let content = images.store.content();
    // Only a layer that is no blob needs its snapshot.
    let mut snapshots = None;
    for (at, layer) in image.manifest.layers().iter().enumerate() {
        let digest = document::digest_of(layer, "a layer")?;
        if content.size(&digest)?.is_some() {
            let mut blob = content.open(&digest)?;
            tar.entry(&path(&digest), layer.size(), |out| {
                io::copy(&mut blob, out)
                    .map(drop)
                    .map_err(ImageError::WriteArchive)
            })?;
            continue;
        }
        if digest != image.config.rootfs.diff_ids[at] {
            return Err(ImageError::MissingBlob {
                what: "layer",
                digest,
            });
        }
        let snapshots = match &snapshots {
            Some(known) => known,
            None => snapshots.insert(images.layers(image)?),
        };
        tar.entry(&path(&digest), layer.size(), |out| {
            images.store.snapshots().write_layer(snapshots[at].0, out)?;
            Ok(())
        })?;
    }
    Ok(())
}

fn path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Docker and containerd read the whole name, others the tag.
fn named(mut descriptor: Descriptor, name: &ImageRef) -> Descriptor {
    let whole = (CONTAINERD_NAME.to_owned(), name.to_string());
    let tag = name.tag().map(|tag| (REF_NAME.to_owned(), tag.to_owned()));
    descriptor.set_annotations(Some([whole].into_iter().chain(tag).collect::<HashMap<_, _>>()));
    descriptor
}
