//! `docker save`'s form: layers uncompressed, under their diff ids.

use std::collections::BTreeMap;
use std::io::{self, Write};

use plimsoll_oci::{Digest, ImageRef};
use plimsoll_store::{LayerInfo, SnapshotId};
use serde::Serialize;

use super::{Saved, Target};
use crate::{ImageError, Images, Result, document};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

pub(super) fn save(images: &Images, list: &[Saved], target: &mut dyn Target) -> Result<()> {
    let mut entries = Vec::new();
    let mut repositories: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for Saved { image, names, .. } in list {
        let mut layers = Vec::new();
        for ((snapshot, info), layer) in images.layers(image)?.into_iter().zip(image.manifest.layers()) {
            let path = format!("{}/layer.tar", info.diff_id.hex());
            let blob = document::digest_of(layer, "a layer")?;
            target.entry(&path, info.tar_size, &mut |out| {
                images.write_uncompressed(blob, snapshot, &info, out)
            })?;
            layers.push(path);
        }
        let config = format!("{}.json", image.id.hex());
        target.file(
            &config,
            &document::read(images.store.content(), &image.id, "image configuration")?,
        )?;
        let top = image
            .config
            .rootfs
            .diff_ids
            .last()
            .map(Digest::hex)
            .unwrap_or_default();
        for name in names {
            let tag = name.tag().unwrap_or_default().to_owned();
            repositories
                .entry(name.familiar_name())
                .or_default()
                .insert(tag, top.clone());
        }
        entries.push(Entry {
            config,
            repo_tags: names.iter().map(ImageRef::familiar).collect(),
            layers,
        });
    }
    target.file(
        "manifest.json",
        &serde_json::to_vec(&entries).expect("entries are JSON"),
    )?;
    if !repositories.is_empty() {
        target.file(
            "repositories",
            &serde_json::to_vec(&repositories).expect("names are JSON"),
        )?;
    }
    Ok(())
}

impl Images {
    /// Writes a layer's tar: from its blob as it came, or from the snapshot if it was built here.
    fn write_uncompressed(
        &self,
        blob: Digest,
        snapshot: SnapshotId,
        info: &LayerInfo,
        out: &mut dyn Write,
    ) -> Result<()> {
        if self.store.content().size(&blob)?.is_none() {
            self.store.snapshots().write_layer(snapshot, out)?;
            return Ok(());
        }
        let file = self.store.content().open(&blob)?;
        let mut reader = plimsoll_layer::decompress(file)
            .map_err(|source| ImageError::ReadLayer { digest: blob, source })?;
        let mut hashed = Hashed {
            out,
            hasher: plimsoll_oci::Hasher::new(),
        };
        io::copy(&mut reader, &mut hashed).map_err(ImageError::WriteArchive)?;
        let actual = hashed.hasher.finish();
        if actual != info.diff_id {
            return Err(ImageError::invalid(
                format!("layer `{blob}`"),
                format!("it unpacks to `{actual}`, not `{}`", info.diff_id),
            ));
        }
        Ok(())
    }
}

struct Hashed<'a> {
    out: &'a mut dyn Write,
    hasher: plimsoll_oci::Hasher,
}

impl Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
