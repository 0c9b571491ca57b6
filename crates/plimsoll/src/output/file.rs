//! Files that commands write at the user's wish.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::command_error::CommandError;

/// Writes beside `path` and renames, so that an earlier file stays whole until the new one is. What is there and no
/// file, such as a pipe, is written to as it is.
pub(crate) fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut File) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let mut pending = PendingFile::create(path)?;
    write(&mut pending.file)?;
    pending.keep()
}

/// A file that takes the place of an earlier one when it is whole; dropped before, it leaves nothing.
pub(crate) struct PendingFile {
    path: PathBuf,
    file: File,
    /// What `file` is called until then; none when it is written in place.
    partial: Option<PathBuf>,
}

impl PendingFile {
    /// Makes the file under another name, which shows whether it can be written at all.
    pub(crate) fn create(path: &Path) -> Result<Self, CommandError> {
        let metadata = path.metadata();
        let is_folder = metadata.as_ref().is_ok_and(std::fs::Metadata::is_dir);
        let in_place = path.symlink_metadata().is_ok_and(|metadata| !metadata.is_file()) && !is_folder;
        let partial = (!in_place).then(|| partial_name(path));
        let file = match &partial {
            _ if is_folder || path.file_name().is_none() => Err(io::ErrorKind::IsADirectory.into()),
            None => File::options().write(true).open(path),
            Some(partial) => File::create(partial),
        };
        Ok(Self {
            path: path.to_owned(),
            file: file.map_err(|error| cannot_write(path, error))?,
            partial,
        })
    }

    /// Writes all of it.
    pub(crate) fn write(mut self, bytes: &[u8]) -> Result<(), CommandError> {
        self.file
            .write_all(bytes)
            .map_err(|error| cannot_write(&self.path, error))?;
        self.keep()
    }

    /// Gives it its name.
    fn keep(mut self) -> Result<(), CommandError> {
        match self.partial.take() {
            Some(partial) => std::fs::rename(&partial, &self.path).map_err(|error| {
                let _ = std::fs::remove_file(&partial);
                cannot_write(&self.path, error)
            }),
            None => Ok(()),
        }
    }
}

impl Drop for PendingFile {
    fn drop(&mut self) {
        if let Some(partial) = &self.partial {
            let _ = std::fs::remove_file(partial);
        }
    }
}

fn partial_name(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.partial", std::process::id()));
    path.with_file_name(name)
}

fn cannot_write(path: &Path, error: io::Error) -> CommandError {
    CommandError::internal(format!("cannot write `{}`", path.display()), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_file_stays_when_writing_fails() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.tar");
        std::fs::write(&path, "old").unwrap();
        let failed = write_atomically(&path, |file| {
            file.write_all(b"half")?;
            Err(CommandError::user("no more"))
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        write_atomically(&path, |file| Ok(file.write_all(b"new")?)).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_written_is_known_at_once() {
        let folder = tempfile::tempdir().unwrap();
        for wrong in [
            folder.path().to_owned(),
            folder.path().join("no/such/file"),
            "/".into(),
        ] {
            let error = PendingFile::create(&wrong).err().expect("it cannot be written");
            assert!(error.to_string().contains("cannot write"), "{error}");
        }
        drop(PendingFile::create(&folder.path().join("given-up")).unwrap());
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    }
}
