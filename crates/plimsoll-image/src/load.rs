//! From an archive: `docker save`'s, or an OCI image layout in a tar file, either of them compressed or not.
//!
//! The archive is read once, from front to back, so that it may come through a pipe: every file that can be a blob goes
//! into the content store under the digest it turns out to have, small JSON files are kept in memory, and links are
//! remembered. Then the index is followed, every image unpacked and checked, and last all of them are registered with
//! their names in one transaction. Paths in the archive are only ever looked up, never opened.

mod archive;
mod docker;
mod oci;

use std::io::Read;

use plimsoll_oci::{Digest, ImageRef};
use plimsoll_progress::{Progress, Task};

use crate::{Image, ImageError, Images, Result, rows};
use archive::Archive;
pub(crate) use oci::{CONTAINERD_NAME, REF_NAME};

/// An image found in an archive, with everything it needs in the content store.
struct Found {
    manifest: Digest,
    media_type: String,
    names: Vec<ImageRef>,
    /// The index that lists it.
    index: Option<Digest>,
    /// False for a further platform of another one.
    stands_for_others: bool,
}

impl Images {
    /// Loads all images of an archive and gives them the names they have there. Everything is checked before anything
    /// is named. Returns the images, each with its names; without any it can be used by its id.
    pub fn load(
        &self,
        archive: &mut (dyn Read + Send),
        progress: &Progress,
    ) -> Result<Vec<(Image, Vec<ImageRef>)>> {
        let task = progress.start("load archive");
        let result = self.load_reporting(archive, &task);
        match &result {
            Ok(loaded) => {
                task.done();
                for (image, names) in loaded {
                    let name = names.first().map(ImageRef::familiar);
                    self.event("load", &image.id.to_string(), &name.unwrap_or_default());
                }
            }
            Err(error) => task.failed(error),
        }
        result
    }

    fn load_reporting(
        &self,
        archive: &mut (dyn Read + Send),
        task: &Task,
    ) -> Result<Vec<(Image, Vec<ImageRef>)>> {
        let _lease = self.store.lease()?;
        let archive = Archive::read(self.store.content(), archive, task)?;
        let found = if archive.has("index.json") {
            oci::find(&archive)?
        } else if archive.has("manifest.json") {
            docker::find(&archive)?
        } else {
            return Err(ImageError::BadArchive(
                "it has neither `index.json` (OCI) nor `manifest.json` (docker save)".to_owned(),
            ));
        };
        self.take(merge(found))
    }

    fn take(&self, found: Vec<Found>) -> Result<Vec<(Image, Vec<ImageRef>)>> {
        let mut images = Vec::new();
        for found in &found {
            let image = self.read(found.manifest)?;
            let size = self.layer_sizes(&image)?.iter().sum();
            let index = match found.index {
                Some(digest) => self.read_index(digest)?,
                None => None,
            };
            images.push((image, size, index));
        }
        let registrations: Vec<_> = images
            .iter()
            .zip(&found)
            .map(|((image, size, index), found)| rows::Registration {
                image,
                media_type: found.media_type.clone(),
                size: *size,
                names: &found.names,
                pulled: None,
                index: index.as_ref(),
            })
            .collect();
        self.register(&registrations)?;
        let loaded = images.into_iter().zip(found);
        let shown = loaded.filter(|(_, found)| found.stands_for_others);
        Ok(shown.map(|((image, ..), found)| (image, found.names)).collect())
    }
}

/// One entry per image: an archive may list it once for each name.
fn merge(found: Vec<Found>) -> Vec<Found> {
    let mut merged: Vec<Found> = Vec::new();
    for image in found {
        match merged.iter_mut().find(|known| known.manifest == image.manifest) {
            Some(known) => {
                known.names.extend(image.names);
                known.index = known.index.or(image.index);
                known.stands_for_others |= image.stands_for_others;
            }
            None => merged.push(image),
        }
    }
    for image in &mut merged {
        let mut seen = std::collections::HashSet::new();
        image.names.retain(|name| seen.insert(name.clone()));
    }
    merged
}

#[cfg(test)]
mod tests;
