//! Where copies go: the rules of the destination.

use std::path::{Path, PathBuf};

use super::select::{Item, Source};
use super::{CopyOp, SourceTree};
use crate::error::OpError;
use crate::op::writer::{Change, Original};
use crate::op::{Owner, Writer, unpack};

impl CopyOp {
    /// Copies all sources. `given` is what `--chown` says.
    pub(super) fn place_all(
        &self,
        writer: &mut Writer,
        sources: &[Source],
        change: &Change,
        given: Option<Owner>,
    ) -> Result<(), OpError> {
        for source in sources {
            let destination = self.destination(writer, change)?;
            self.place_source(writer, source, &destination, change, given)?;
        }
        for file in &self.inline {
            let destination = self.destination(writer, change)?;
            let owner = change.owner_of_parents();
            let path = target(writer, &destination, Path::new(&file.name), owner)?;
            let mode = change
                .mode
                .as_ref()
                .map_or(0o644, |change| change.apply(0o644, false));
            writer.write_file(&mut file.data.as_slice(), &path, owner, mode, None)?;
        }
        Ok(())
    }

    /// The destination with symlinks followed, which is made when it was written with a slash behind it. Without one
    /// and with several sources the last file wins: BuildKit does not ask for the slash.
    fn destination(&self, writer: &mut Writer, change: &Change) -> Result<PathBuf, OpError> {
        let destination = writer.tree().canonical(Path::new(&self.destination))?;
        if self.into_directory {
            writer.directory(&destination, change.owner_of_parents())?;
        }
        Ok(destination)
    }

    fn place_source(
        &self,
        writer: &mut Writer,
        source: &Source,
        destination: &Path,
        change: &Change,
        given: Option<Owner>,
    ) -> Result<(), OpError> {
        let Some(top) = source.items.first() else {
            return Ok(());
        };
        if !top.stat.is_directory() {
            if self.unpack && top.stat.is_file() && unpack::is_archive(&top.host)? {
                writer.directory(destination, change.owner_of_parents())?;
                return unpack::unpack(writer, &top.host, destination, given);
            }
            let path = target(writer, destination, &source.name, change.owner_of_parents())?;
            return writer.copy_file(&self.original(top), &path, change);
        }
        // Itself it is not copied: one that is there stays as it is, one that is made is like any parent.
        let exists = writer.tree().lookup(destination)?.is_some();
        writer.directory(destination, change.owner_of_parents())?;
        if !exists {
            writer.copy_times(&top.stat, destination);
        }
        for item in &source.items[1..] {
            let path = destination.join(&item.below);
            match item.stat.is_directory() {
                true => writer.copy_directory(&self.original(item), &path, change)?,
                false => writer.copy_file(&self.original(item), &path, change)?,
            }
        }
        Ok(())
    }

    fn original<'a>(&self, item: &'a Item) -> Original<'a> {
        let changes = matches!(self.tree, SourceTree::Context(_));
        Original {
            host: &item.host,
            stat: item.stat,
            content: changes.then_some(item.content),
        }
    }
}

/// Where a file called `name` goes: into the destination if that is a directory.
fn target(writer: &mut Writer, destination: &Path, name: &Path, owner: Owner) -> Result<PathBuf, OpError> {
    let there = writer.tree().lookup(destination)?;
    let into = there.is_some_and(|entry| entry.metadata.is_dir());
    let (above, path) = match into {
        true => (destination, destination.join(name)),
        false => (
            destination.parent().unwrap_or(destination),
            destination.to_owned(),
        ),
    };
    writer.directory(above, owner)?;
    Ok(path)
}
