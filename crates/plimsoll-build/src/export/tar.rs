//! The files of an image as one plain archive: `type=tar`.

use std::collections::HashMap;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use plimsoll_image::Images;
use plimsoll_store::{Entry, MergedTree, Store};
use tar::{Builder, EntryType, Header};

use super::{files, platform_folder};
use crate::BuiltImage;
use crate::error::BuildError;

/// Writes the files of images as a tar, sorted by path, with the owners they have in the image. With `split` each
/// platform has a folder of its own. With SOURCE_DATE_EPOCH that is the time of every file, as in BuildKit.
pub fn export_tar(
    store: &Store,
    images: &Images,
    built: &[BuiltImage],
    split: bool,
    out: &mut dyn Write,
) -> Result<(), BuildError> {
    let mut builder = Builder::new(io::BufWriter::with_capacity(256 << 10, out));
    for built in built {
        let Some(tree) = files(store, images, built)? else {
            continue;
        };
        let mut archive = Archive {
            builder: &mut builder,
            tree: &tree,
            prefix: PathBuf::new(),
            epoch: built.epoch,
            links: HashMap::new(),
        };
        if split {
            archive.folder(platform_folder(built).into())?;
        }
        archive.below(&tree.root()?)?;
    }
    let mut out = builder.into_inner().map_err(write_error)?;
    out.flush().map_err(write_error)
}

/// Writes the files that a tree shows as a tar, just as they are.
pub fn write_tar(tree: &MergedTree, out: &mut dyn Write) -> Result<(), BuildError> {
    let mut builder = Builder::new(io::BufWriter::with_capacity(256 << 10, out));
    let mut archive = Archive {
        builder: &mut builder,
        tree,
        prefix: PathBuf::new(),
        epoch: None,
        links: HashMap::new(),
    };
    archive.below(&tree.root()?)?;
    let mut out = builder.into_inner().map_err(write_error)?;
    out.flush().map_err(write_error)
}

fn write_error(source: io::Error) -> BuildError {
    BuildError::WriteArchive(source)
}

struct Archive<'a, 'b> {
    builder: &'a mut Builder<io::BufWriter<&'b mut dyn Write>>,
    tree: &'a MergedTree,
    /// Of every path.
    prefix: PathBuf,
    epoch: Option<i64>,
    /// First names of inodes that have several.
    links: HashMap<(u64, u64), PathBuf>,
}

impl Archive<'_, '_> {
    fn folder(&mut self, prefix: PathBuf) -> Result<(), BuildError> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Directory);
        header.set_mode(0o755);
        header.set_mtime(self.epoch.map_or(0, seconds));
        header.set_size(0);
        let path = prefix.join("");
        self.builder
            .append_data(&mut header, path, io::empty())
            .map_err(write_error)?;
        self.prefix = prefix;
        Ok(())
    }

    fn below(&mut self, directory: &Entry) -> Result<(), BuildError> {
        for name in self.tree.read_dir(directory)? {
            let Some(entry) = self.tree.child(directory, &name)? else {
                continue;
            };
            self.entry(&entry)?;
            if entry.metadata.is_dir() {
                self.below(&entry)?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, entry: &Entry) -> Result<(), BuildError> {
        let relative = entry.path.strip_prefix("/").unwrap_or(&entry.path);
        let path = self.prefix.join(relative);
        let metadata = &entry.metadata;
        let kind = metadata.file_type();
        if kind.is_socket() {
            return Ok(());
        }
        let mut header = Header::new_gnu();
        header.set_mode(metadata.mode() & 0o7777);
        header.set_uid(metadata.uid().into());
        header.set_gid(metadata.gid().into());
        header.set_mtime(seconds(self.epoch.unwrap_or(metadata.mtime())));
        header.set_size(0);
        if let Some(first) = self.earlier(entry, &path) {
            header.set_entry_type(EntryType::Link);
            return self
                .builder
                .append_link(&mut header, path, first)
                .map_err(write_error);
        }
        self.attributes(entry)?;
        if kind.is_symlink() {
            header.set_entry_type(EntryType::Symlink);
            let target = entry.read_link()?;
            return self
                .builder
                .append_link(&mut header, path, target)
                .map_err(write_error);
        }
        if kind.is_file() {
            header.set_size(metadata.len());
            let file = entry.open()?;
            let appended = self
                .builder
                .append_data(&mut header, &path, Exactly::new(file, metadata.len()));
            return appended.map_err(write_error);
        }
        let (kind, path) = match () {
            () if kind.is_dir() => (EntryType::Directory, path.join("")),
            () if kind.is_fifo() => (EntryType::Fifo, path),
            () => {
                let device = metadata.rdev();
                let set = header
                    .set_device_major(rustix::fs::major(device))
                    .and_then(|()| header.set_device_minor(rustix::fs::minor(device)));
                set.map_err(write_error)?;
                match kind.is_char_device() {
                    true => (EntryType::Char, path),
                    false => (EntryType::Block, path),
                }
            }
        };
        header.set_entry_type(kind);
        self.builder
            .append_data(&mut header, path, io::empty())
            .map_err(write_error)
    }

    /// Returns the name under which the same inode came before.
    fn earlier(&mut self, entry: &Entry, path: &Path) -> Option<PathBuf> {
        let metadata = &entry.metadata;
        if metadata.nlink() < 2 || metadata.is_dir() {
            return None;
        }
        match self.links.entry((metadata.dev(), metadata.ino())) {
            std::collections::hash_map::Entry::Occupied(first) => Some(first.get().clone()),
            std::collections::hash_map::Entry::Vacant(slot) => {
                slot.insert(path.to_owned());
                None
            }
        }
    }

    fn attributes(&mut self, entry: &Entry) -> Result<(), BuildError> {
        let found = entry.xattrs()?;
        let names: Vec<(String, Vec<u8>)> = found
            .into_iter()
            .map(|(name, value)| {
                let name = String::from_utf8_lossy(name.as_bytes()).into_owned();
                (format!("SCHILY.xattr.{name}"), value)
            })
            .collect();
        let records = names
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()));
        match names.is_empty() {
            true => Ok(()),
            false => self.builder.append_pax_extensions(records).map_err(write_error),
        }
    }
}

/// A tar header has no times before 1970.
fn seconds(time: i64) -> u64 {
    u64::try_from(time).unwrap_or(0)
}

/// A file whose size is in the header already: one that has become shorter is an error, not a broken archive.
struct Exactly {
    file: io::Take<std::fs::File>,
}

impl Exactly {
    fn new(file: std::fs::File, size: u64) -> Self {
        use io::Read as _;
        Self {
            file: file.take(size),
        }
    }
}

impl io::Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.file.read(buffer)? {
            0 if self.file.limit() > 0 && !buffer.is_empty() => {
                Err(io::Error::other("a file became shorter"))
            }
            count => Ok(count),
        }
    }
}
