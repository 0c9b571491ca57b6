//! What the sources of a COPY name: paths and patterns to files.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use plimsoll_diagnostics::Source as Text;
use plimsoll_dockerfile::{IgnoreFile, glob_match, nearest};
use plimsoll_store::{Entry, MergedTree};
use rustix::fs::{AtFlags, Mode, OFlags};

use super::SourcePath;
use crate::context::{BuildContext, Content};
use crate::error::OpError;
use crate::lower::join;
use crate::parallel::drain;
use crate::stat::Stat;

/// A tree to copy from, with what is left out of it.
pub(super) struct Selection<'a> {
    pub(super) tree: &'a MergedTree,
    pub(super) context: Option<&'a BuildContext>,
    /// As errors call it.
    pub(super) place: String,
    /// `--exclude`, relative to what is copied.
    pub(super) exclude: &'a IgnoreFile,
}

/// One thing to copy.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// Its path below the source that was named, empty for that itself.
    pub(super) below: PathBuf,
    pub(super) host: PathBuf,
    pub(super) stat: Stat,
    /// Digest of what stat(2) does not tell; filled in by [`super::content`].
    pub(super) content: Content,
}

/// One source that was named, or that a pattern matched.
#[derive(Debug)]
pub(super) struct Source {
    /// Last component as it was written, for a destination that is a directory.
    pub(super) name: PathBuf,
    /// Where it is in the tree.
    pub(super) root: PathBuf,
    /// Itself first; every directory before what is in it.
    pub(super) items: Vec<Item>,
}

/// An item with what is needed to look into it.
struct Node {
    item: Item,
    /// Of a directory of several layers.
    entry: Option<Entry>,
    /// Left out, unless something below it is not.
    excluded: bool,
}

impl Selection<'_> {
    /// What the paths and patterns name, in order.
    pub(super) fn sources(&self, paths: &[SourcePath], parents: bool) -> Result<Vec<Source>, OpError> {
        let mut sources = Vec::new();
        for path in paths {
            match parents {
                true => self.add_with_parents(path, &mut sources)?,
                false => self.add(path, &mut sources)?,
            }
        }
        Ok(sources)
    }

    fn add(&self, source: &SourcePath, sources: &mut Vec<Source>) -> Result<(), OpError> {
        let clean = PathBuf::from(join("", &source.path));
        if is_pattern(&source.path) {
            for path in self.matches(source, &clean)? {
                let Some(entry) = self.tree.resolve(&path)? else {
                    continue;
                };
                sources.extend(self.source(file_name(&path), entry, None)?);
            }
            return Ok(());
        }
        let entry = self
            .tree
            .resolve(&clean)?
            .ok_or_else(|| self.not_found(source, &clean))?;
        let ignored = !entry.metadata.is_dir() && self.is_ignored(&entry.path);
        if ignored {
            return Err(self.not_found(source, &clean));
        }
        match self.source(file_name(&clean), entry, None)? {
            Some(found) => sources.push(found),
            // `--exclude` may leave nothing; an ignored directory was not sent, as BuildKit would say.
            None if self.is_ignored(&clean) => return Err(self.not_found(source, &clean)),
            None => {}
        }
        Ok(())
    }

    /// `--parents`: the pattern behind the pivot `/./` selects below what is before it, and paths are kept from there.
    fn add_with_parents(&self, source: &SourcePath, sources: &mut Vec<Source>) -> Result<(), OpError> {
        let (pivot, pattern) = source.path.split_once("/./").unwrap_or(("/", &source.path));
        let (pivot, pattern) = (join("", pivot), join("", pattern));
        if !is_pattern(&pivot) && !is_pattern(&pattern) {
            let whole = PathBuf::from(join(&pivot, &pattern[1..]));
            let found = self
                .tree
                .resolve(&whole)?
                .filter(|entry| !self.is_ignored(&entry.path));
            found.ok_or_else(|| self.not_found(source, &whole))?;
        }
        let include = match &pattern[1..] {
            "" => None,
            pattern => Some(patterns(&["**".to_owned(), format!("!{pattern}")])?),
        };
        let pivots = match is_pattern(&pivot) {
            true => self.matches(source, Path::new(&pivot))?,
            false => vec![PathBuf::from(pivot)],
        };
        for pivot in pivots {
            let entry = self.tree.resolve(&pivot)?.filter(|entry| entry.metadata.is_dir());
            if let Some(entry) = entry {
                sources.extend(self.source(PathBuf::new(), entry, include.as_ref())?);
            }
        }
        Ok(())
    }

    fn is_ignored(&self, path: &Path) -> bool {
        let relative = relative(path);
        !relative.is_empty()
            && self
                .context
                .is_some_and(|context| context.ignore.excludes(&relative))
    }

    /// An entry with all below it that is not left out; none when nothing is left of it.
    fn source(
        &self,
        name: PathBuf,
        entry: Entry,
        include: Option<&IgnoreFile>,
    ) -> Result<Option<Source>, OpError> {
        let root = entry.path.clone();
        let filters = Filters {
            root: &root,
            ignore: self
                .context
                .map(|context| &context.ignore)
                .filter(|ignore| !ignore.is_empty()),
            of_source: [Some(self.exclude).filter(|exclude| !exclude.is_empty()), include],
        };
        let item = Item {
            below: PathBuf::new(),
            host: entry.host_path.clone(),
            stat: Stat::from(&entry.metadata),
            content: Content::default(),
        };
        if !item.stat.is_directory() {
            let excluded = self.is_ignored(&root) || self.exclude.excludes(&name.to_string_lossy());
            let items = vec![item];
            return Ok((!excluded).then_some(Source { name, root, items }));
        }
        let excluded = filters.exclude(Path::new(""));
        let top = Node {
            item,
            entry: Some(entry),
            excluded,
        };
        let items = self.walk(top, &filters)?;
        Ok((!items.is_empty()).then_some(Source { name, root, items }))
    }

    /// A directory and what is below it, read by several threads. A directory that is left out appears only if
    /// something below it does.
    fn walk(&self, top: Node, filters: &Filters<'_>) -> Result<Vec<Item>, OpError> {
        let read: Mutex<HashMap<PathBuf, Vec<Node>>> = Mutex::default();
        let first = (PathBuf::new(), top.item.host.clone(), top.entry.clone());
        drain(vec![first], |(below, host, entry), added| {
            let mut children = match (self.context, entry) {
                (None, Some(entry)) => self.layered_children(&below, &entry)?,
                _ => plain_children(&below, &host)?,
            };
            children.retain_mut(|child| {
                child.excluded = filters.exclude(&child.item.below);
                let directory = child.item.stat.is_directory();
                let kept = !child.excluded || (directory && filters.may_keep_below(&child.item.below));
                if kept && directory {
                    added.push((
                        child.item.below.clone(),
                        child.item.host.clone(),
                        child.entry.take(),
                    ));
                }
                kept
            });
            read.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(below, children);
            Ok::<_, OpError>(())
        })?;
        let mut read = read.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut items = Vec::with_capacity(read.values().map(Vec::len).sum::<usize>() + 1);
        flatten(top, &mut read, &mut items);
        Ok(items)
    }

    fn layered_children(&self, below: &Path, directory: &Entry) -> Result<Vec<Node>, OpError> {
        let mut children = Vec::new();
        for name in self.tree.read_dir(directory)? {
            let Some(entry) = self.tree.child(directory, &name)? else {
                continue;
            };
            let item = Item {
                below: below.join(&name),
                host: entry.host_path.clone(),
                stat: Stat::from(&entry.metadata),
                content: Content::default(),
            };
            children.push(Node {
                item,
                entry: Some(entry),
                excluded: false,
            });
        }
        Ok(children)
    }

    /// Paths that a pattern matches, as Go's filepath.Match over a walk: below the part without wildcards no symlink
    /// is followed. What that part names must be there.
    fn matches(&self, source: &SourcePath, pattern: &Path) -> Result<Vec<PathBuf>, OpError> {
        let components: Vec<&OsStr> = pattern.iter().skip(1).collect();
        let literal = components
            .iter()
            .take_while(|part| !is_pattern(&part.to_string_lossy()))
            .count();
        let base: PathBuf = [OsStr::new("/")].iter().chain(&components[..literal]).collect();
        let base = self
            .tree
            .resolve(&base)?
            .ok_or_else(|| self.not_found(source, &base))?;
        let mut found = vec![base];
        for component in &components[literal..] {
            let mut next = Vec::new();
            for directory in found.iter().filter(|entry| entry.metadata.is_dir()) {
                for name in self.tree.read_dir(directory)? {
                    let matched =
                        glob_match(component.as_bytes(), name.as_bytes()).map_err(|error| OpError::Word {
                            message: format!("`{}`: {error}", source.path),
                            span: Some(source.span),
                            hint: None,
                        })?;
                    if matched {
                        next.extend(self.tree.child(directory, &name)?);
                    }
                }
            }
            found = next;
        }
        let mut seen = BTreeSet::new();
        found.retain(|entry| seen.insert(entry.path.clone()));
        Ok(found.into_iter().map(|entry| entry.path).collect())
    }

    /// Says what is missing, and why it may be: an ignore rule, a misspelt name.
    fn not_found(&self, source: &SourcePath, clean: &Path) -> OpError {
        let hint = comment_hint(&source.path)
            .or_else(|| self.ignored_hint(clean))
            .or_else(|| self.near_hint(clean));
        OpError::NotFound {
            path: source.path.clone(),
            place: self.place.clone(),
            span: Some(source.span),
            hint,
        }
    }

    fn ignored_hint(&self, clean: &Path) -> Option<String> {
        let context = self.context?;
        let ignore_name = &context.ignore_text.as_ref()?.name;
        self.tree.resolve(clean).ok()??;
        let rule = context.ignore.deciding_rule(&relative(clean))?;
        let (line, pattern) = (rule.line, &rule.pattern);
        Some(format!(
            "it is there, but `{pattern}` in {ignore_name}:{line} leaves it out of the build context"
        ))
    }

    fn near_hint(&self, clean: &Path) -> Option<String> {
        let parent = self.tree.resolve(clean.parent()?).ok()??;
        let names = self.tree.read_dir(&parent).ok()?;
        let names: Vec<String> = names
            .iter()
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        let name = clean.file_name()?.to_str()?;
        let near = nearest(name, names.iter().map(String::as_str))?;
        Some(format!("did you mean `{}`?", relative(&parent.path.join(near))))
    }
}

/// What a walk leaves out.
struct Filters<'a> {
    /// Of what is walked, in the tree.
    root: &'a Path,
    /// Its patterns count from the root of the context.
    ignore: Option<&'a IgnoreFile>,
    /// Patterns that count from the root of what is walked.
    of_source: [Option<&'a IgnoreFile>; 2],
}

impl Filters<'_> {
    fn exclude(&self, below: &Path) -> bool {
        self.any(below, |file, path| file.excludes(path))
    }

    /// Tells whether something below a directory may be kept though the directory is left out.
    fn may_keep_below(&self, below: &Path) -> bool {
        !self.any(below, |file, path| {
            file.excludes(path) && !file.may_include_below(path)
        })
    }

    fn any(&self, below: &Path, excludes: impl Fn(&IgnoreFile, &str) -> bool) -> bool {
        let ignored = self.ignore.is_some_and(|ignore| {
            let path = relative(&self.root.join(below));
            !path.is_empty() && excludes(ignore, &path)
        });
        let path = below.to_string_lossy();
        let mut filters = self.of_source.iter().flatten();
        ignored || (!path.is_empty() && filters.any(|file| excludes(file, &path)))
    }
}

/// The entries of a directory that is a directory on the host as well, sorted by name.
fn plain_children(below: &Path, host: &Path) -> Result<Vec<Node>, OpError> {
    let failed = |error: rustix::io::Errno| OpError::io("read", host)(error.into());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::open(host, flags, Mode::empty()).map_err(failed)?;
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(&directory).map_err(failed)? {
        match entry.map_err(failed)?.file_name().to_bytes() {
            b"." | b".." => {}
            name => names.push(name.to_vec()),
        }
    }
    names.sort();
    let mut children = Vec::with_capacity(names.len());
    for name in names {
        let stat = match rustix::fs::statat(&directory, &name[..], AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Stat::from(&stat),
            // Gone since the directory was read.
            Err(rustix::io::Errno::NOENT) => continue,
            Err(error) => return Err(failed(error)),
        };
        let name = OsStr::from_bytes(&name);
        let item = Item {
            below: below.join(name),
            host: host.join(name),
            stat,
            content: Content::default(),
        };
        children.push(Node {
            item,
            entry: None,
            excluded: false,
        });
    }
    Ok(children)
}

fn flatten(node: Node, read: &mut HashMap<PathBuf, Vec<Node>>, items: &mut Vec<Item>) {
    let position = items.len();
    let children = match node.item.stat.is_directory() {
        true => read.remove(&node.item.below).unwrap_or_default(),
        false => Vec::new(),
    };
    items.push(node.item);
    for child in children {
        flatten(child, read, items);
    }
    if node.excluded && items.len() == position + 1 {
        items.pop();
    }
}

/// Reads patterns as moby's patternmatcher does.
pub(crate) fn patterns(lines: &[String]) -> Result<IgnoreFile, OpError> {
    IgnoreFile::parse(&Text::new("pattern", lines.join("\n")))
        .map_err(|diagnostic| OpError::Copy(diagnostic.message))
}

fn comment_hint(written: &str) -> Option<String> {
    written.starts_with('#').then(|| {
        "a comment must stand on a line of its own: here `#` and what follows are file names".to_owned()
    })
}

fn file_name(path: &Path) -> PathBuf {
    path.file_name().map(PathBuf::from).unwrap_or_default()
}

/// A path of the tree without its leading slash.
fn relative(path: &Path) -> String {
    path.strip_prefix("/")
        .unwrap_or(path)
        .to_string_lossy()
        .into_owned()
}

/// Tells whether a path has wildcards; a backslash takes the meaning from the one behind it.
fn is_pattern(path: &str) -> bool {
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'*' | b'?' | b'[' => return true,
            b'\\' => drop(bytes.next()),
            _ => {}
        }
    }
    false
}
