//! Results as folders. Archives are written by the image crate.

use std::fs;
use std::path::Path;

use plimsoll_image::{Image, Images};
use plimsoll_store::{Entry, MergedTree, Store};

use crate::error::{BuildError, OpError};
use crate::op::{Change, Original, Owner, Writer};

/// Writes the files of an image below `destination`, owned by the caller, merged with what is there.
pub fn export_local(
    store: &Store,
    images: &Images,
    image: &Image,
    destination: &Path,
) -> Result<(), BuildError> {
    fs::create_dir_all(destination).map_err(BuildError::io("make folder", destination))?;
    let Some(snapshot) = images.snapshot(image)? else {
        return Ok(());
    };
    let tree = MergedTree::new(store.snapshots().layers(snapshot)?);
    let owner = Owner {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
    };
    let change = Change {
        owner: Some(owner),
        mode: None,
    };
    let mut writer = Writer::new(destination, &[]);
    let written =
        copy_below(&mut writer, &tree, &tree.root()?, &change).and_then(|()| writer.finish().map(drop));
    written.map_err(|error| match error {
        OpError::Io {
            operation,
            path,
            source,
        } => BuildError::Io {
            operation,
            path,
            source,
        },
        OpError::Store(error) => BuildError::Store(error),
        error => BuildError::Io {
            operation: "write",
            path: destination.to_owned(),
            source: std::io::Error::other(error),
        },
    })
}

fn copy_below(
    writer: &mut Writer,
    tree: &MergedTree,
    directory: &Entry,
    change: &Change,
) -> Result<(), OpError> {
    for name in tree.read_dir(directory)? {
        let Some(entry) = tree.child(directory, &name)? else {
            continue;
        };
        let path = entry.path.clone();
        if entry.metadata.is_dir() {
            writer.copy_directory(&Original::from(&entry), &path, change)?;
            copy_below(writer, tree, &entry, change)?;
        } else {
            writer.copy_file(&Original::from(&entry), &path, change)?;
        }
    }
    Ok(())
}
