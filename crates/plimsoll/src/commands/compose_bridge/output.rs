//! The folder that a conversion is written to: it takes its place as a whole, so that nothing of an earlier conversion
//! is left in it, and nothing is lost when a conversion fails.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::scratch::Scratch;
use crate::command_error::CommandError;
use crate::commands::asking::confirm;
use crate::commands::container_options::current_directory;
use crate::context::Context;

/// A folder in the making, beside the place it will have.
pub(super) struct Output {
    place: Utf8PathBuf,
    made: Scratch,
}

impl Output {
    /// Asks before files are lost that no conversion wrote.
    pub(super) fn new(place: &Utf8Path, yes: bool, context: &Context) -> Result<Self, CommandError> {
        let current = current_directory()?;
        let mut place = current.join(place);
        let shown = place.clone();
        let cannot = |error: io::Error| CommandError::user(format!("cannot write to `{shown}`: {error}"));
        if let Ok(existing) = place.canonicalize_utf8() {
            let current = current.canonicalize_utf8().map_err(cannot)?;
            if current.starts_with(&existing) {
                return Err(CommandError::user(format!(
                    "`{existing}` is the folder in work, and would be replaced"
                ))
                .hint("name a folder of its own, such as `-o out`"));
            }
            if !existing.is_dir() {
                return Err(CommandError::user(format!("`{existing}` is no folder")));
            }
            if !is_converted(&existing).map_err(cannot)? {
                let warning =
                    format!("all files in `{existing}` will be removed, and not all are of a conversion.");
                confirm(context, yes, &warning, "compose bridge convert")?;
            }
            place = existing;
        }
        let parent = place.parent().unwrap_or(&place);
        fs::create_dir_all(parent).map_err(cannot)?;
        let made = Scratch::new(parent).map_err(cannot)?;
        Ok(Self { place, made })
    }

    pub(super) fn path(&self) -> &Utf8Path {
        Utf8Path::from_path(self.made.path()).expect("the folder above has a name in UTF-8")
    }

    /// Writes a file; a secret only for its owner.
    pub(super) fn write(&self, file: &plimsoll_bridge::File) -> Result<(), CommandError> {
        let path = self.path().join(&file.path);
        let written = || -> io::Result<()> {
            fs::create_dir_all(path.parent().unwrap_or(&path))?;
            let mode = if file.is_secret { 0o600 } else { 0o666 };
            let mut out = File::options()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(mode)
                .open(&path)?;
            out.write_all(file.text.as_bytes())
        };
        written().map_err(|error| CommandError::user(format!("cannot write `{path}`: {error}")))
    }

    /// Gives the folder its place.
    pub(super) fn keep(self) -> Result<(), CommandError> {
        let cannot = |error: io::Error| CommandError::user(format!("cannot write `{}`: {error}", self.place));
        fs::set_permissions(self.made.path(), fs::Permissions::from_mode(0o755)).map_err(cannot)?;
        if !self.place.exists() {
            return put(self.made, &self.place).map_err(cannot);
        }
        // In one step where the file system can: what was there goes with the temporary folder.
        match renameat_with(
            CWD,
            self.made.path(),
            CWD,
            self.place.as_std_path(),
            RenameFlags::EXCHANGE,
        ) {
            Ok(()) => Ok(()),
            Err(Errno::INVAL | Errno::NOSYS) => {
                let old = self.made.path().with_extension("old");
                fs::rename(&self.place, &old).map_err(cannot)?;
                put(self.made, &self.place).map_err(cannot)?;
                fs::remove_dir_all(&old).map_err(cannot)
            }
            Err(error) => Err(cannot(error.into())),
        }
    }
}

/// Where it cannot be put it is not left behind.
fn put(made: Scratch, place: &Utf8Path) -> io::Result<()> {
    fs::rename(made.path(), place)?;
    let _ = made.keep();
    Ok(())
}

/// Whether all files were written by a conversion: each says its name on one of its first lines, as Docker's do.
fn is_converted(folder: &Utf8Path) -> io::Result<bool> {
    for entry in folder.read_dir_utf8()? {
        let entry = entry?;
        let is_one = match entry.file_type()?.is_dir() {
            true => is_converted(entry.path())?,
            false => entry.file_name() == ".helmignore" || says_its_name(entry.path(), entry.file_name())?,
        };
        if !is_one {
            return Ok(false);
        }
    }
    Ok(true)
}

fn says_its_name(path: &Utf8Path, name: &str) -> io::Result<bool> {
    let lines = BufReader::new(File::open(path)?).lines().take(4);
    let wanted = format!("#! {name}");
    Ok(lines.map_while(Result::ok).any(|line| line.trim_end() == wanted))
}
