//! An OCI image layout: blobs as they are, each once.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _, Write};

use plimsoll_oci::{Descriptor, Digest, ImageIndex, ImageRef, MediaType};

use super::{Saved, Target};
use crate::load::{CONTAINERD_NAME, REF_NAME};
use crate::{Image, ImageError, Images, Index, Result, document};

pub(super) fn save(images: &Images, list: &[Saved], target: &mut dyn Target) -> Result<()> {
    target.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    let mut entries = Vec::new();
    for Saved { image, index, names } in list {
        let descriptor = match index {
            None => write_image(images, image, target)?,
            Some(index) => write_index(images, index, target)?,
        };
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

fn write_image(images: &Images, image: &Image, target: &mut dyn Target) -> Result<Descriptor> {
    write_layers(images, image, target)?;
    write_document(images, &image.id, target)?;
    let size = write_document(images, &image.manifest_digest, target)?;
    let media_type = image.manifest.media_type().clone();
    let media_type = media_type.unwrap_or(MediaType::ImageManifest);
    Ok(Descriptor::new(media_type, size, image.manifest_digest))
}

/// All images of an index that are here, and what is attested about them.
fn write_index(images: &Images, index: &Index, target: &mut dyn Target) -> Result<Descriptor> {
    images.touch_index(index)?;
    for image in images.images_of(index)? {
        write_image(images, &image, target)?;
    }
    for digest in images.attestation_blobs(index)? {
        write_document(images, &digest, target)?;
    }
    let size = write_document(images, &index.digest, target)?;
    let media_type = index.document.media_type().clone();
    let media_type = media_type.unwrap_or(MediaType::ImageIndex);
    Ok(Descriptor::new(media_type, size, index.digest))
}

fn write_document(images: &Images, digest: &Digest, target: &mut dyn Target) -> Result<u64> {
    let bytes = document::read(images.store.content(), digest, "document")?;
    target.file(&path(digest), &bytes)?;
    Ok(bytes.len() as u64)
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
