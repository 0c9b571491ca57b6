//! Into an archive.
//!
//! Written front to back with sizes known beforehand, so that the output may be a pipe. The same images give the same
//! bytes: no times, fixed order.

mod docker;
mod layout;
mod oci;
mod target;

use std::io::Write;

use plimsoll_oci::ImageRef;

use crate::{ArchiveFormat, Image, Images, Index, Result};

pub use layout::Layout;
use target::{Tar, Target};

/// What is to be saved.
#[derive(Clone, Debug)]
pub struct Saved {
    /// The image, or what stands for the index.
    pub image: Image,
    /// The index as a whole, with all that it lists.
    pub index: Option<Index>,
    /// Names that it is to have there.
    pub names: Vec<ImageRef>,
}

impl Images {
    /// Writes images as one archive. With an index among them it is an image layout in any case; where Docker's form is
    /// asked for, one with Docker's `manifest.json` beside, which names the image that stands for the index.
    pub fn save(&self, images: &[Saved], format: ArchiveFormat, out: &mut dyn Write) -> Result<()> {
        let _lease = self.store.lease()?;
        let mut tar = Tar::new(out);
        let several = images.iter().any(|saved| saved.index.is_some());
        match format {
            ArchiveFormat::Docker if !several => docker::save(self, images, &mut tar)?,
            ArchiveFormat::Docker => {
                oci::save(self, images, &mut tar)?;
                tar.file("manifest.json", &layout::docker_manifests(images)?)?;
            }
            ArchiveFormat::Oci => oci::save(self, images, &mut tar)?,
        }
        tar.finish()
    }
}

#[cfg(test)]
pub(crate) mod tests;
