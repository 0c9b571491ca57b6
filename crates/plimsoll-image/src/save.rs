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

use crate::{ArchiveFormat, Image, Images, Result};

pub use layout::Layout;
use target::{Tar, Target};

impl Images {
    /// Writes images, each with the names it is to have there, as one archive.
    pub fn save(
        &self,
        images: &[(Image, Vec<ImageRef>)],
        format: ArchiveFormat,
        out: &mut dyn Write,
    ) -> Result<()> {
        let _lease = self.store.lease()?;
        let mut tar = Tar::new(out);
        match format {
            ArchiveFormat::Docker => docker::save(self, images, &mut tar)?,
            ArchiveFormat::Oci => oci::save(self, images, &mut tar)?,
        }
        tar.finish()
    }
}

#[cfg(test)]
pub(crate) mod tests;
