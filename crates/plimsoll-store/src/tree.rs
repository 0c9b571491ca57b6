//! Reading a stack of layer directories as the one tree that overlayfs would show.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::error::{At, Result, StoreError};

/// Symbolic links followed in one lookup before it is taken for a loop.
const MAX_LINKS: usize = 255;

/// The root file system that a stack of layer directories shows, read without mounting: whiteouts and opaque
/// directories honoured, symlinks resolved within the root, `..` never above it.
///
/// Nothing is cached, so a tree over a directory that is being written to shows what is there now.
#[derive(Clone, Debug)]
pub struct MergedTree {
    layers: Vec<PathBuf>,
}

/// One file, directory or link of a [`MergedTree`].
#[derive(Clone, Debug)]
pub struct Entry {
    /// Absolute path in the image with symlinks resolved.
    pub path: PathBuf,
    /// Where its (topmost) bytes are on the host.
    pub host_path: PathBuf,
    /// Of the topmost layer that has it.
    pub metadata: Metadata,
    /// For a directory: every host directory that contributes to it, top first.
    layers: Vec<PathBuf>,
}

impl MergedTree {
    /// Makes a tree of `layers`, top first.
    pub fn new(layers: Vec<PathBuf>) -> Self {
        Self { layers }
    }

    /// Returns the root directory.
    pub fn root(&self) -> Result<Entry> {
        // Without layers there is no directory to show; any will do for a mode and an owner.
        let shown = self.layers.first().map_or(Path::new("/"), PathBuf::as_path);
        let metadata = fs::symlink_metadata(shown).at("examine", shown)?;
        let host_path = self.layers.first().cloned().unwrap_or_default();
        Ok(Entry {
            path: "/".into(),
            host_path,
            metadata,
            layers: self.layers.clone(),
        })
    }

    /// Looks `path` up without following a final symlink; none when it does not exist. Intermediate symlinks are
    /// followed inside the root.
    pub fn lookup(&self, path: &Path) -> Result<Option<Entry>> {
        Ok(self.walk(path, false)?.found())
    }

    /// As `lookup`, following a final symlink too.
    pub fn resolve(&self, path: &Path) -> Result<Option<Entry>> {
        Ok(self.walk(path, true)?.found())
    }

    /// Returns the absolute path with every symlink resolved inside the root; components that do not exist are
    /// appended as they are.
    pub fn canonical(&self, path: &Path) -> Result<PathBuf> {
        let walk = self.walk(path, true)?;
        let mut canonical = walk
            .stack
            .last()
            .map_or_else(|| PathBuf::from("/"), |entry| entry.path.clone());
        canonical.extend(walk.missing);
        Ok(canonical)
    }

    /// Returns the entry `name` of a directory; none when there is none or `directory` is none.
    pub fn child(&self, directory: &Entry, name: &OsStr) -> Result<Option<Entry>> {
        let mut found: Option<Entry> = None;
        for (depth, layer) in directory.layers.iter().enumerate() {
            let host_path = layer.join(name);
            let metadata = match fs::symlink_metadata(&host_path) {
                Ok(metadata) => metadata,
                Err(error) if is_absent(&error) => continue,
                Err(error) => return Err(error).at("examine", host_path),
            };
            if is_whiteout(&metadata) || (found.is_some() && !metadata.is_dir()) {
                break;
            }
            let is_directory = metadata.is_dir();
            let last = !is_directory
                || (depth + 1 < directory.layers.len()
                    && plimsoll_layer::is_opaque(&host_path).at("read the attributes of", &host_path)?);
            let entry = found.get_or_insert_with(|| Entry {
                path: directory.path.join(name),
                host_path: host_path.clone(),
                metadata,
                layers: Vec::new(),
            });
            if is_directory {
                entry.layers.push(host_path);
            }
            if last {
                break;
            }
        }
        Ok(found)
    }

    /// Returns the names in a directory, sorted by their bytes.
    pub fn read_dir(&self, directory: &Entry) -> Result<Vec<OsString>> {
        // Name to "visible": the topmost layer that has a name decides.
        let mut names = BTreeMap::new();
        for layer in &directory.layers {
            for entry in fs::read_dir(layer).at("read", layer)? {
                let entry = entry.at("read", layer)?;
                let std::collections::btree_map::Entry::Vacant(slot) = names.entry(entry.file_name()) else {
                    continue;
                };
                // The kind comes with the directory entry; only devices are looked at.
                let device = entry.file_type().at("examine", layer)?.is_char_device();
                slot.insert(!device || !is_whiteout(&entry.metadata().at("examine", layer)?));
            }
        }
        Ok(names
            .into_iter()
            .filter_map(|(name, visible)| visible.then_some(name))
            .collect())
    }

    fn walk(&self, path: &Path, follow_last: bool) -> Result<Walk> {
        let root = self.root()?;
        let mut walk = Walk {
            stack: vec![root],
            missing: Vec::new(),
        };
        let mut todo: VecDeque<OsString> = components(path);
        let mut links = 0;
        while let Some(name) = todo.pop_front() {
            if name == ".." {
                walk.up();
                continue;
            }
            let Some(current) = walk.stack.last().filter(|_| walk.missing.is_empty()) else {
                walk.missing.push(name);
                continue;
            };
            let Some(entry) = self.child(current, &name)? else {
                walk.missing.push(name);
                continue;
            };
            if !entry.metadata.is_symlink() || (todo.is_empty() && !follow_last) {
                walk.stack.push(entry);
                continue;
            }
            links += 1;
            if links > MAX_LINKS {
                return Err(StoreError::TooManyLinks {
                    path: path.to_owned(),
                    source: Errno::LOOP.into(),
                });
            }
            let target = entry.read_link()?;
            if target.is_absolute() {
                walk.stack.truncate(1);
            }
            for component in components(&target).into_iter().rev() {
                todo.push_front(component);
            }
        }
        Ok(walk)
    }
}

impl Entry {
    /// Opens a regular file for reading. Anything else is refused: a fifo would wait, a device would act.
    pub fn open(&self) -> Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        if !self.metadata.is_file() {
            return Err(io::Error::from(io::ErrorKind::InvalidInput)).at("read as a file", &self.host_path);
        }
        let file = rustix::fs::open(&self.host_path, flags, Mode::empty()).at("open", &self.host_path)?;
        Ok(File::from(file))
    }

    /// Returns the target of a symbolic link, as it is written.
    pub fn read_link(&self) -> Result<PathBuf> {
        fs::read_link(&self.host_path).at("read the link", &self.host_path)
    }

    /// Returns the extended attributes sorted by name, without overlay's own.
    pub fn xattrs(&self) -> Result<Vec<(OsString, Vec<u8>)>> {
        plimsoll_layer::xattrs(&self.host_path).at("read the attributes of", &self.host_path)
    }
}

/// The state of a lookup: directories from the root to where it is, and names below that do not exist.
struct Walk {
    stack: Vec<Entry>,
    missing: Vec<OsString>,
}

impl Walk {
    fn found(mut self) -> Option<Entry> {
        self.stack.pop().filter(|_| self.missing.is_empty())
    }

    /// `..`, which at the root stays there.
    fn up(&mut self) {
        if self.missing.pop().is_none() && self.stack.len() > 1 {
            self.stack.pop();
        }
    }
}

fn components(path: &Path) -> VecDeque<OsString> {
    let name = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(name).collect()
}

/// A missing name, and one below something that is no directory, are both just not there.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn is_whiteout(metadata: &Metadata) -> bool {
    metadata.file_type().is_char_device() && metadata.rdev() == 0
}
