//! What an image layout is written to: a tar file or a folder.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::{ImageError, Result};

/// Writes exactly as many bytes as were announced.
pub(super) type Body<'a> = dyn FnMut(&mut dyn Write) -> Result<()> + 'a;

/// Takes files.
pub(super) trait Target {
    /// Writes a file of `size` bytes, unless it has been written before.
    fn entry(&mut self, path: &str, size: u64, body: &mut Body<'_>) -> Result<()>;

    /// Writes a small file.
    fn file(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        self.entry(path, bytes.len() as u64, &mut |out| {
            out.write_all(bytes).map_err(ImageError::WriteArchive)
        })
    }
}

/// A tar file in the making. (`tar::Builder` wants a reader for each entry; our layers are written.)
pub(super) struct Tar<'a> {
    out: &'a mut dyn Write,
    written: HashSet<String>,
}

impl<'a> Tar<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        Self {
            out,
            written: HashSet::new(),
        }
    }

    pub(super) fn finish(self) -> Result<()> {
        self.out
            .write_all(&[0; 1024])
            .and_then(|()| self.out.flush())
            .map_err(ImageError::WriteArchive)
    }
}

impl Target for Tar<'_> {
    fn entry(&mut self, path: &str, size: u64, body: &mut Body<'_>) -> Result<()> {
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
        counted(path, size, self.out, body)?;
        let padding = size.next_multiple_of(512) - size;
        let zeros = [0; 512];
        self.out
            .write_all(&zeros[..usize::try_from(padding).expect("below 512")])
            .map_err(ImageError::WriteArchive)
    }
}

/// A folder, in which there may be a layout already. Files appear whole or not at all.
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    fn create(&self, path: &Path) -> Result<(PathBuf, File)> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.partial", std::process::id()));
        let partial = path.with_file_name(name);
        let parent = partial.parent().unwrap_or(&self.path);
        let created = fs::create_dir_all(parent).and_then(|()| File::create(&partial));
        Ok((partial.clone(), created.map_err(wrong(&partial))?))
    }
}

impl Target for Folder {
    fn entry(&mut self, path: &str, size: u64, body: &mut Body<'_>) -> Result<()> {
        let is_blob = path.starts_with("blobs/");
        let path_there = self.path.join(path);
        // A blob goes by its digest: one of the same size is the same.
        if is_blob && fs::metadata(&path_there).is_ok_and(|there| there.is_file() && there.len() == size) {
            return Ok(());
        }
        let (partial, mut file) = self.create(&path_there)?;
        let written = counted(path, size, &mut file, body)
            .and_then(|()| fs::rename(&partial, &path_there).map_err(wrong(&path_there)));
        if written.is_err() {
            let _ = fs::remove_file(&partial);
        }
        written
    }
}

fn wrong(path: &Path) -> impl FnOnce(io::Error) -> ImageError {
    move |source| ImageError::WriteLayout {
        path: path.to_owned(),
        source,
    }
}

/// Writes a body and checks its size.
fn counted(path: &str, size: u64, out: &mut dyn Write, body: &mut Body<'_>) -> Result<()> {
    let mut counted = Counted { out, written: 0 };
    body(&mut counted)?;
    if counted.written != size {
        let reason = format!("it has {} bytes, {size} were expected", counted.written);
        return Err(ImageError::invalid(format!("`{path}`"), reason));
    }
    Ok(())
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
