//! Texts to disk: all of a file, or nothing of it.

use std::fs;
use std::io::{self, Write as _};

use camino::{Utf8Path, Utf8PathBuf};

use super::Change;

/// Why a file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write `{path}`")]
pub struct WriteError {
    path: Utf8PathBuf,
    source: io::Error,
}

/// Replaces a file by its new text, if it still is the one that was read. A link stays a link, and the file keeps its
/// permissions.
pub fn write(path: &Utf8Path, change: &Change) -> Result<(), WriteError> {
    replace(path, change).map_err(|source| WriteError {
        path: path.to_owned(),
        source,
    })
}

fn replace(path: &Utf8Path, change: &Change) -> io::Result<()> {
    let path = match &change.old {
        Some(_) => path.canonicalize_utf8()?,
        None => path.to_owned(),
    };
    if let Some(old) = &change.old
        && fs::read_to_string(&path)? != *old
    {
        return Err(io::Error::other("it has changed in the meantime"));
    }
    let folder = path.parent().unwrap_or(Utf8Path::new("/"));
    let mut file = tempfile::Builder::new()
        .prefix(".plimsoll-")
        .tempfile_in(folder)?;
    file.write_all(change.new.as_bytes())?;
    match &change.old {
        Some(_) => {
            fs::set_permissions(file.path(), fs::metadata(&path)?.permissions())?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
        }
        None => {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644))?;
            file.as_file().sync_all()?;
            file.persist_noclobber(&path)?;
        }
    }
    Ok(())
}
