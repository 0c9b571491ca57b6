//! Into an archive.
//!
//! Written front to back with sizes known beforehand, so that the output may be a pipe. The same images give the same
//! bytes: no times, fixed order.

mod docker;
mod oci;

use std::collections::HashSet;
use std::io::{self, Write};

use plimsoll_oci::ImageRef;

use crate::{ArchiveFormat, Image, ImageError, Images, Result};

impl Images {
    /// Writes images, each with the names it is to have there, as one archive.
    pub fn save(
        &self,
        images: &[(Image, Vec<ImageRef>)],
        format: ArchiveFormat,
        out: &mut dyn Write,
    ) -> Result<()> {
        let _lease = self.store.lease()?;
        let mut tar = Tar {
            out,
            written: HashSet::new(),
        };
        match format {
            ArchiveFormat::Docker => docker::save(self, images, &mut tar)?,
            ArchiveFormat::Oci => oci::save(self, images, &mut tar)?,
        }
        tar.finish()
    }
}

/// A tar file in the making. (`tar::Builder` wants a reader for each entry; our layers are written.)
struct Tar<'a> {
    out: &'a mut dyn Write,
    written: HashSet<String>,
}

impl Tar<'_> {
    fn file(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        self.entry(path, bytes.len() as u64, |out| {
            out.write_all(bytes).map_err(ImageError::WriteArchive)
        })
    }

    /// Writes an entry, unless it has been written before; `body` has to write exactly `size` bytes.
    fn entry(
        &mut self,
        path: &str,
        size: u64,
        body: impl FnOnce(&mut dyn Write) -> Result<()>,
    ) -> Result<()> {
        if !self.written.insert(path.to_owned()) {
            return Ok(());
        }
        let mut header = tar::Header::new_gnu();
        header.set_path(path).map_err(ImageError::WriteArchive)?;
        header.set_size(size);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_cksum();
        self.out
            .write_all(header.as_bytes())
            .map_err(ImageError::WriteArchive)?;
        let mut counted = Counted {
            out: self.out,
            written: 0,
        };
        body(&mut counted)?;
        if counted.written != size {
            let reason = format!("it has {} bytes, {size} were expected", counted.written);
            return Err(ImageError::invalid(format!("`{path}`"), reason));
        }
        let padding = size.next_multiple_of(512) - size;
        let zeros = [0; 512];
        self.out
            .write_all(&zeros[..usize::try_from(padding).expect("below 512")])
            .map_err(ImageError::WriteArchive)
    }

    fn finish(self) -> Result<()> {
        self.out
            .write_all(&[0; 1024])
            .and_then(|()| self.out.flush())
            .map_err(ImageError::WriteArchive)
    }
}

struct Counted<'a> {
    out: &'a mut dyn Write,
    written: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
pub(crate) mod tests;
