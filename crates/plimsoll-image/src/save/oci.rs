//! An OCI image layout: blobs as they are, each once.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _, Write};

use plimsoll_oci::{Descriptor, Digest, ImageIndex, ImageRef, MediaType};

use super::Target;
use crate::load::{CONTAINERD_NAME, REF_NAME};
use crate::{Image, ImageError, Images, Result, document};

pub(super) fn save(images: &Images, list: &[(Image, Vec<ImageRef>)], target: &mut dyn Target) -> Result<()> {
    target.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    let mut entries = Vec::new();
    for (image, names) in list {
        write_layers(images, image, target)?;
        let content = images.store.content();
        target.file(
            &path(&image.id),
            &document::read(content, &image.id, "image configuration")?,
        )?;
        let manifest = document::read(content, &image.manifest_digest, "manifest")?;
        target.file(&path(&image.manifest_digest), &manifest)?;
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
    target.file(
        "index.json",
        &serde_json::to_vec(&index).expect("an index is JSON"),
    )
}

pub(super) fn write_layers(images: &Images, image: &Image, target: &mut dyn Target) -> Result<()> {
    let content = images.store.content();
    // Only a layer that is no blob needs its snapshot.
    let mut snapshots = None;
    for (at, layer) in image.manifest.layers().iter().enumerate() {
        let digest = document::digest_of(layer, "a layer")?;
        if content.size(&digest)?.is_some() {
            let mut blob = content.open(&digest)?;
            target.entry(&path(&digest), layer.size(), &mut |out| {
                copy(&mut blob, out).map_err(ImageError::WriteArchive)
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
        target.entry(&path(&digest), layer.size(), &mut |out| {
            images.store.snapshots().write_layer(snapshots[at].0, out)?;
            Ok(())
        })?;
    }
    Ok(())
}

pub(super) fn path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Docker and containerd read the whole name, others the tag.
fn named(mut descriptor: Descriptor, name: &ImageRef) -> Descriptor {
    let whole = (CONTAINERD_NAME.to_owned(), name.to_string());
    let tag = name.tag().map(|tag| (REF_NAME.to_owned(), tag.to_owned()));
    descriptor.set_annotations(Some([whole].into_iter().chain(tag).collect::<HashMap<_, _>>()));
    descriptor
}

/// In large pieces: `io::copy` to a writer it does not know moves 8 KiB at a time.
fn copy(blob: &mut File, out: &mut dyn Write) -> io::Result<()> {
    let mut buffer = vec![0; 256 << 10];
    loop {
        match blob.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => out.write_all(&buffer[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
