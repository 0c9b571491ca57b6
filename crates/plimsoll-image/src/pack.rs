//! The forms that layers take elsewhere: in archives, in registries, in caches.
//!
//! A layer that came from elsewhere stays as it came, or pushing a pulled image would change its digest. One that was
//! built here is packed straight from its snapshot; the result is a blob that nothing needs, so that a second export or
//! a push finds it, until the next collection takes it. It comes out the same, byte for byte, whenever it is packed again.

use std::collections::BTreeMap;
use std::io;
use std::num::NonZero;

use plimsoll_layer::{Compressed, Compression, Encoding};
use plimsoll_oci::{Descriptor, Digest, Hasher, MediaType};
use plimsoll_store::SnapshotId;

use crate::{Image, ImageError, Images, Result, document, rows};

/// How layers are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packing {
    /// With what.
    pub encoding: Encoding,
    /// Whether layers that came compressed otherwise are packed anew.
    pub force: bool,
    /// Media types of the OCI specification, not Docker's. Docker's have no zstd.
    pub oci_media_types: bool,
    /// Threads that compress one layer; without influence on its bytes.
    pub threads: NonZero<usize>,
}

impl Default for Packing {
    /// As BuildKit's `type=oci`.
    fn default() -> Self {
        Self {
            encoding: Encoding::default(),
            force: false,
            oci_media_types: true,
            threads: std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN),
        }
    }
}

/// One layer whose blob is in the store.
#[derive(Clone, Debug)]
pub struct PackedLayer {
    /// Digest of its tar.
    pub diff_id: Digest,
    /// Of its blob.
    pub descriptor: Descriptor,
}

impl Images {
    /// Returns the image with its layers packed: the same configuration, another manifest. All of its blobs are in the
    /// store, protected by the lease of this process; the image is not listed before it is tagged or kept.
    pub fn pack(&self, image: &Image, packing: &Packing) -> Result<Image> {
        self.store.protect()?;
        // Only a layer that is no blob needs its snapshot.
        let mut snapshots = None;
        let mut layers = Vec::with_capacity(image.manifest.layers().len());
        for (at, diff_id) in image.config.rootfs.diff_ids.iter().enumerate() {
            let descriptor = match self.packed(diff_id, packing)? {
                Some(found) => found,
                None => {
                    let snapshots = match &snapshots {
                        Some(known) => known,
                        None => snapshots.insert(self.layers(image)?),
                    };
                    self.pack_snapshot(snapshots[at].0, packing)?.descriptor
                }
            };
            layers.push(descriptor);
        }
        let content = self.store.content();
        let config = document::read(content, &image.id, "image configuration")?;
        let manifest = document::put_manifest(content, &config, layers, packing.oci_media_types)?;
        self.read(manifest)
    }

    /// Returns the image with annotations in its manifest.
    pub fn annotate(&self, image: &Image, annotations: &BTreeMap<String, String>) -> Result<Image> {
        if annotations.is_empty() {
            return Ok(image.clone());
        }
        let content = self.store.content();
        let bytes = document::read(content, &image.manifest_digest, "manifest")?;
        let what = format!("manifest `{}`", image.manifest_digest);
        let mut manifest: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(&bytes).map_err(ImageError::parse(what))?;
        let mut all: BTreeMap<String, serde_json::Value> = BTreeMap::new();
        if let Some(serde_json::Value::Object(given)) = manifest.shift_remove("annotations") {
            all.extend(given);
        }
        all.extend(
            annotations
                .iter()
                .map(|(key, value)| (key.clone(), value.clone().into())),
        );
        manifest.insert("annotations".to_owned(), serde_json::json!(all));
        let bytes = serde_json::to_vec(&manifest).expect("a manifest is JSON");
        self.read(content.put(&bytes)?)
    }

    /// Packs a snapshot and all below it, base first.
    pub fn pack_chain(&self, top: Option<SnapshotId>, packing: &Packing) -> Result<Vec<PackedLayer>> {
        self.store.protect()?;
        let mut chain = Vec::new();
        let mut next = top;
        while let Some(snapshot) = next {
            chain.push(snapshot);
            next = self.store.snapshots().parent(snapshot)?;
        }
        chain.reverse();
        chain
            .into_iter()
            .map(|snapshot| self.pack_snapshot(snapshot, packing))
            .collect()
    }

    /// Packs the layer of one snapshot. The first to write a layer's tar also learns its diff id.
    pub fn pack_snapshot(&self, snapshot: SnapshotId, packing: &Packing) -> Result<PackedLayer> {
        let snapshots = self.store.snapshots();
        let known = snapshots.known_layer(snapshot)?.map(|info| info.diff_id);
        if let Some(diff_id) = known
            && let Some(descriptor) = self.packed(&diff_id, packing)?
        {
            return Ok(PackedLayer { diff_id, descriptor });
        }
        let came = known.map(|diff_id| self.came_as(&diff_id)).transpose()?.flatten();
        let (diff_id, written) = match came {
            Some(digest) => self.write_packed(packing, |out| self.copy_unpacked(digest, out))?,
            None => self.write_packed(packing, |out| Ok(snapshots.write_layer(snapshot, out)?.diff_id))?,
        };
        if let Some(expected) = known.filter(|expected| *expected != diff_id) {
            let reason = format!("it unpacks to `{diff_id}`");
            return Err(ImageError::invalid(format!("layer `{expected}`"), reason));
        }
        let compression = packing.encoding.compression();
        let media_type = MediaType::from(compression.media_type(true));
        let descriptor = Descriptor::new(media_type, written.size, written.digest);
        let encoder = packing.encoding.version();
        if compression != Compression::Uncompressed {
            self.store
                .db()
                .write(|db| rows::note_packed(db, &diff_id, &descriptor, &encoder))?;
        }
        let descriptor = with_media_type(descriptor, packing.oci_media_types);
        Ok(PackedLayer { diff_id, descriptor })
    }

    /// Returns the blob in which a layer came, compressed or not: only that has the very bytes of its tar for certain.
    fn came_as(&self, diff_id: &Digest) -> Result<Option<Digest>> {
        if let Some(layer) = self.store.db().read(|db| rows::layer_as_it_came(db, diff_id))? {
            return document::digest_of(&layer, "a layer").map(Some);
        }
        Ok(self.store.content().size(diff_id)?.map(|_| *diff_id))
    }

    /// Returns the blob that a layer has in this form already, and protects it.
    fn packed(&self, diff_id: &Digest, packing: &Packing) -> Result<Option<Descriptor>> {
        let compression = packing.encoding.compression();
        let encoder = packing.encoding.version();
        let found = self.store.db().read(|db| -> Result<_> {
            let came = rows::layer_as_it_came(db, diff_id)?.filter(|layer| {
                let kind = Compression::of_media_type(layer.media_type().as_ref());
                !packing.force || kind == Some(compression)
            });
            match came {
                None => Ok(rows::layer_packed(db, diff_id, &encoder)?),
                came => Ok(came),
            }
        })?;
        let found = match found {
            None if compression == Compression::Uncompressed => {
                let size = self.store.content().size(diff_id)?;
                let media_type = || MediaType::from(document::TAR_LAYER);
                size.map(|size| Descriptor::new(media_type(), size, *diff_id))
            }
            found => found,
        };
        let Some(layer) = found else { return Ok(None) };
        let digest = document::digest_of(&layer, "a layer")?;
        let kept = self.store.content().touch(&[digest])?;
        Ok(kept.then(|| with_media_type(layer, packing.oci_media_types)))
    }

    /// Makes a blob of what `write` writes; it returns the digest of that.
    fn write_packed(
        &self,
        packing: &Packing,
        write: impl FnOnce(&mut dyn io::Write) -> Result<Digest>,
    ) -> Result<(Digest, Compressed)> {
        let ingest = self.store.content().ingest(None)?;
        let mut packer = packing.encoding.pack(ingest, packing.threads);
        let diff_id = write(&mut packer)?;
        let (ingest, written) = packer.finish().map_err(|source| ImageError::Pack {
            compression: packing.encoding.compression(),
            source,
        })?;
        ingest.commit()?;
        Ok((diff_id, written))
    }

    /// Writes the tar of a layer that is a blob, and returns its digest.
    fn copy_unpacked(&self, digest: Digest, out: &mut dyn io::Write) -> Result<Digest> {
        let blob = self.store.content().open(&digest)?;
        let mut reader =
            plimsoll_layer::decompress(blob).map_err(|source| ImageError::ReadLayer { digest, source })?;
        let mut hasher = Hasher::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = io::Read::read(&mut reader, &mut buffer).map_err(|source| ImageError::ReadLayer {
                digest,
                source: plimsoll_layer::LayerError::Read(source),
            })?;
            if count == 0 {
                return Ok(hasher.finish());
            }
            hasher.update(&buffer[..count]);
            out.write_all(&buffer[..count]).map_err(ImageError::WriteBlob)?;
        }
    }
}

/// The same layer under the specification's or Docker's name; what neither has stays.
fn with_media_type(mut layer: Descriptor, oci: bool) -> Descriptor {
    if let Some(compression) = Compression::of_media_type(layer.media_type().as_ref()) {
        layer.set_media_type(MediaType::from(compression.media_type(oci)));
    }
    layer
}

#[cfg(test)]
mod tests;
