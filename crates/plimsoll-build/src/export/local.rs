//! A folder of files: `type=local`.

use std::fs;
use std::path::Path;

use plimsoll_image::Images;
use plimsoll_store::{Entry, MergedTree, Store};

use super::{files, platform_folder};
use crate::BuiltImage;
use crate::error::{BuildError, OpError};
use crate::op::{Change, Original, Owner, Writer};

/// Writes the files of images below `destination`, owned by the caller, merged with what is there. With `split` each
/// platform has a folder of its own. With SOURCE_DATE_EPOCH that is the time of every file, as in BuildKit.
pub fn export_local(
    store: &Store,
    images: &Images,
    built: &[BuiltImage],
    destination: &Path,
    split: bool,
) -> Result<(), BuildError> {
    for built in built {
        let folder = match split {
            true => destination.join(platform_folder(built)),
            false => destination.to_owned(),
        };
        fs::create_dir_all(&folder).map_err(BuildError::io("make folder", &folder))?;
        let Some(tree) = files(store, images, built)? else {
            continue;
        };
        let mut copy = Copy {
            writer: Writer::new(&folder, &[]),
            tree: &tree,
            change: Change {
                owner: Some(Owner {
                    uid: rustix::process::geteuid().as_raw(),
                    gid: rustix::process::getegid().as_raw(),
                }),
                mode: None,
            },
            epoch: built.epoch,
        };
        let written = copy
            .below(&tree.root()?)
            .and_then(|()| copy.writer.finish().map(drop));
        written.map_err(|error| at(error, &folder))?;
    }
    Ok(())
}

struct Copy<'a> {
    writer: Writer,
    tree: &'a MergedTree,
    change: Change,
    epoch: Option<i64>,
}

impl Copy<'_> {
    fn below(&mut self, directory: &Entry) -> Result<(), OpError> {
        for name in self.tree.read_dir(directory)? {
            let Some(entry) = self.tree.child(directory, &name)? else {
                continue;
            };
            let mut original = Original::from(&entry);
            if let Some(epoch) = self.epoch {
                original.stat.mtime = (epoch, 0);
            }
            if entry.metadata.is_dir() {
                self.writer.copy_directory(&original, &entry.path, &self.change)?;
                self.below(&entry)?;
            } else {
                self.writer.copy_file(&original, &entry.path, &self.change)?;
            }
        }
        Ok(())
    }
}

fn at(error: OpError, folder: &Path) -> BuildError {
    match error {
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
            path: folder.to_owned(),
            source: std::io::Error::other(error),
        },
    }
}
