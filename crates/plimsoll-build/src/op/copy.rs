//! COPY and ADD.
//!
//! Selecting and copying are one walk over the source tree, so that what is hashed for the cache key is what
//! is copied. The rules are BuildKit's (`solver/llbsolver/file`): a directory gives its contents, a wildcard
//! that matches one flattens it, the owner of context files is root, of other stages' files it is kept.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use plimsoll_diagnostics::Span;
use plimsoll_dockerfile::{glob_match, nearest};
use plimsoll_oci::{Digest, Hasher};
use plimsoll_store::{Entry, MergedTree, Store};

use super::writer::Change;
use super::{Output, Owner, Services, Writer, blocking, hash, tree, user};
use crate::context::BuildContext;
use crate::error::OpError;

/// Where the sources are.
#[derive(Clone)]
pub(crate) enum SourceTree {
    /// The build context.
    Context(Arc<BuildContext>),
    /// The last input: a stage or an image.
    Input {
        /// As errors call it: `stage "builder"`.
        name: String,
        /// False for a stage without any layer.
        present: bool,
    },
}

/// A path or pattern, expanded.
#[derive(Clone, Debug)]
pub(crate) struct SourcePath {
    pub(crate) path: String,
    /// The word it came from, for errors.
    pub(crate) span: Span,
}

/// A file written in the Dockerfile.
#[derive(Clone, Debug)]
pub(crate) struct InlineFile {
    pub(crate) name: String,
    pub(crate) data: Vec<u8>,
}

/// Copies files onto the stage's.
#[derive(Clone)]
pub(crate) struct CopyOp {
    /// COPY or ADD.
    pub(crate) instruction: &'static str,
    pub(crate) tree: SourceTree,
    pub(crate) paths: Vec<SourcePath>,
    pub(crate) inline: Vec<InlineFile>,
    /// Absolute and clean.
    pub(crate) destination: String,
    /// The destination was written with a trailing slash.
    pub(crate) into_directory: bool,
    pub(crate) chown: Option<String>,
    pub(crate) chmod: Option<u32>,
    /// Local archives are unpacked.
    pub(crate) unpack: bool,
}

/// A tree to copy from with what is left out of it.
struct Selection<'a> {
    tree: &'a MergedTree,
    context: Option<&'a BuildContext>,
    place: String,
}

/// One thing to copy: the source, and its path below the source that was named (empty for that itself).
struct Item {
    entry: Entry,
    below: PathBuf,
}

/// One source that was named, or that a pattern matched.
struct Source {
    /// Last component as it was written, for a destination that is a directory.
    name: PathBuf,
    items: Vec<Item>,
}

impl CopyOp {
    /// Where [`CopyOp::whole`] puts what it copies.
    pub(crate) const WHOLE: &str = "/mount";

    /// Copies one path, which is no pattern, onto nothing: what a mount of RUN shows.
    pub(crate) fn whole(tree: SourceTree, mut path: SourcePath) -> Self {
        path.path = escaped(&path.path);
        Self {
            instruction: "RUN",
            tree,
            paths: vec![path],
            inline: Vec::new(),
            destination: Self::WHOLE.to_owned(),
            into_directory: false,
            chown: None,
            chmod: None,
            unpack: false,
        }
    }

    /// The definition, and for sources in the context their content.
    pub(super) async fn key(&self) -> Result<Digest, OpError> {
        let definition = self.definition();
        match &self.tree {
            SourceTree::Context(_) if self.paths.is_empty() => Ok(definition),
            SourceTree::Context(context) => {
                let (op, context) = (self.clone(), context.clone());
                let content = blocking(move || op.digest(&Selection::context(&context))).await?;
                Ok(hash("copy", &[definition, content]))
            }
            SourceTree::Input { .. } => Ok(definition),
        }
    }

    fn definition(&self) -> Digest {
        let mut hasher = Hasher::new();
        hasher.field(self.instruction);
        let paths: Vec<&str> = self.paths.iter().map(|source| source.path.as_str()).collect();
        hasher.field(format!(
            "{:?} {:?} {} {:?} {:?} {}",
            paths, self.destination, self.into_directory, self.chown, self.chmod, self.unpack
        ));
        for file in &self.inline {
            hasher.field(&file.name);
            hasher.field(&file.data);
        }
        hasher.finish()
    }

    /// The base's content, and of the source just the files that are read.
    pub(super) async fn content_key(
        &self,
        services: &Services,
        inputs: &[Output],
    ) -> Result<Digest, OpError> {
        let (base, source) = self.split(inputs);
        let base = base.map_or_else(|| Digest::of("scratch"), |base| base.content);
        let Some(source) = source else {
            return Ok(hash("onto", &[base]));
        };
        Ok(hash("onto", &[base, self.selected(services, source).await?]))
    }

    /// Digest of what is read of a source that is an input.
    pub(super) async fn selected(&self, services: &Services, source: &Output) -> Result<Digest, OpError> {
        let (op, store, source) = (self.clone(), services.store.clone(), source.clone());
        blocking(move || {
            let tree = tree(&store, &source)?;
            op.digest(&op.input(&tree))
        })
        .await
    }

    /// Base and source of the inputs.
    fn split<'a>(&self, inputs: &'a [Output]) -> (Option<&'a Output>, Option<&'a Output>) {
        match &self.tree {
            SourceTree::Input { present: true, .. } => {
                let (source, base) = inputs.split_last().expect("a source that is present is an input");
                (base.first(), Some(source))
            }
            _ => (inputs.first(), None),
        }
    }

    fn input<'a>(&self, tree: &'a MergedTree) -> Selection<'a> {
        let place = match &self.tree {
            SourceTree::Input { name, .. } => name.clone(),
            SourceTree::Context(_) => unreachable!("only inputs are selected from so"),
        };
        Selection {
            tree,
            context: None,
            place,
        }
    }

    /// Digest of all that would be copied: names, kinds, modes, owners, link targets and bytes, no times.
    fn digest(&self, selection: &Selection<'_>) -> Result<Digest, OpError> {
        let mut hasher = Hasher::new();
        for source in self.sources(selection)? {
            hasher.field(source.name.as_os_str().as_bytes());
            for item in &source.items {
                self.hash_item(&mut hasher, item, selection)?;
            }
        }
        Ok(hasher.finish())
    }

    fn hash_item(&self, hasher: &mut Hasher, item: &Item, selection: &Selection<'_>) -> Result<(), OpError> {
        let metadata = &item.entry.metadata;
        hasher.field(item.below.as_os_str().as_bytes());
        let kind = metadata.mode() & 0o170_000;
        let mode = self
            .chmod
            .unwrap_or_else(|| metadata.permissions().mode() & 0o7777);
        let owner = if selection.context.is_some() || self.chown.is_some() {
            Owner::default()
        } else {
            Owner::of(metadata)
        };
        hasher.field(format!("{kind:o} {mode:o} {} {}", owner.uid, owner.gid));
        if metadata.is_symlink() {
            hasher.field(item.entry.read_link()?.as_os_str().as_bytes());
        } else if metadata.is_file() {
            hasher.field(metadata.len().to_le_bytes());
            let mut file = item.entry.open()?;
            io::copy(&mut file, hasher).map_err(OpError::io("read", &item.entry.host_path))?;
        } else if !metadata.is_dir() {
            hasher.field(metadata.rdev().to_le_bytes());
        }
        for (name, value) in item.entry.xattrs()? {
            hasher.field(name.as_bytes());
            hasher.field(value);
        }
        Ok(())
    }

    /// What the paths and patterns name, in order.
    fn sources(&self, selection: &Selection<'_>) -> Result<Vec<Source>, OpError> {
        let mut sources = Vec::new();
        for source in &self.paths {
            let clean = crate::lower::join("", &source.path);
            if is_pattern(&clean) {
                for entry in selection.matches(Path::new(&clean))? {
                    let name = entry.path.file_name().map(PathBuf::from).unwrap_or_default();
                    sources.extend(selection.source(name, entry)?);
                }
                continue;
            }
            let not_found = || selection.not_found(source, Path::new(&clean));
            let entry = selection.tree_resolve(Path::new(&clean))?.ok_or_else(not_found)?;
            let name = Path::new(&clean)
                .file_name()
                .map(PathBuf::from)
                .unwrap_or_default();
            sources.push(selection.source(name, entry)?.ok_or_else(not_found)?);
        }
        Ok(sources)
    }

    pub(super) async fn run(
        &self,
        services: &Services,
        inputs: &[Output],
        content: Digest,
    ) -> Result<Output, OpError> {
        let (base, source) = self.split(inputs);
        let (base, source) = (base.map(|base| base.snapshot), source.cloned());
        let (op, store) = (self.clone(), services.store.clone());
        blocking(move || op.copy(&store, base, source.as_ref(), content)).await
    }

    fn copy(
        &self,
        store: &Store,
        base: Option<plimsoll_store::SnapshotId>,
        source: Option<&Output>,
        content: Digest,
    ) -> Result<Output, OpError> {
        let active = store.snapshots().prepare(base)?;
        let mut writer = Writer::new(active.upper(), active.lowers());
        let owner = self
            .chown
            .as_deref()
            .map(|chown| user::owner(writer.tree(), chown))
            .transpose()?;
        match (&self.tree, source) {
            (SourceTree::Context(context), _) => {
                let change = Change {
                    owner: Some(owner.unwrap_or_default()),
                    mode: self.chmod,
                };
                self.copy_sources(&mut writer, &Selection::context(context), change)?;
            }
            (SourceTree::Input { .. }, Some(source)) => {
                let tree = tree(store, source)?;
                self.copy_sources(
                    &mut writer,
                    &self.input(&tree),
                    Change {
                        owner,
                        mode: self.chmod,
                    },
                )?;
            }
            (SourceTree::Input { name, .. }, None) => {
                let first = self.paths.first();
                let path = first.map(|source| source.path.clone()).unwrap_or_default();
                let span = first.map(|source| source.span);
                return Err(OpError::NotFound {
                    path,
                    place: format!("{name}, which has no files"),
                    span,
                    hint: None,
                });
            }
        }
        writer.finish()?;
        Ok(Output {
            snapshot: store.snapshots().commit(active)?,
            content,
        })
    }

    fn copy_sources(
        &self,
        writer: &mut Writer,
        selection: &Selection<'_>,
        change: Change,
    ) -> Result<(), OpError> {
        let sources = self.sources(selection)?;
        let destination = writer.tree().canonical(Path::new(&self.destination))?;
        let made = change.owner.unwrap_or_default();
        if self.into_directory || sources.len() + self.inline.len() > 1 {
            writer.directory(&destination, made)?;
        }
        for source in &sources {
            self.copy_source(writer, source, &destination, change)?;
        }
        for file in &self.inline {
            let path = self.target(writer, &destination, Path::new(&file.name), made)?;
            writer.write_file(
                &mut file.data.as_slice(),
                &path,
                made,
                change.mode.unwrap_or(0o644),
                None,
            )?;
        }
        Ok(())
    }

    /// Where a file called `name` goes: into the destination if that is a directory.
    fn target(
        &self,
        writer: &mut Writer,
        destination: &Path,
        name: &Path,
        owner: Owner,
    ) -> Result<PathBuf, OpError> {
        let is_directory = writer
            .tree()
            .lookup(destination)?
            .is_some_and(|entry| entry.metadata.is_dir());
        if is_directory {
            return Ok(writer.tree().canonical(destination)?.join(name));
        }
        if let Some(parent) = destination.parent() {
            writer.directory(parent, owner)?;
        }
        Ok(destination.to_owned())
    }

    fn copy_source(
        &self,
        writer: &mut Writer,
        source: &Source,
        destination: &Path,
        change: Change,
    ) -> Result<(), OpError> {
        let Some(top) = source.items.first() else {
            return Ok(());
        };
        if !top.entry.metadata.is_dir() {
            if self.unpack && super::unpack::is_archive(&top.entry)? {
                writer.directory(destination, change.owner.unwrap_or_default())?;
                return super::unpack::unpack(writer, &top.entry, destination, change);
            }
            let path = self.target(
                writer,
                destination,
                &source.name,
                change.owner.unwrap_or_default(),
            )?;
            return writer.copy_file(&top.entry, &path, change);
        }
        // A destination that is there keeps its own metadata; one that is made takes the source's.
        let exists = writer.tree().lookup(destination)?.is_some();
        writer.directory(destination, change.owner.unwrap_or_default())?;
        if !exists {
            writer.copy_directory(&top.entry, destination, change)?;
        }
        for item in &source.items[1..] {
            let path = destination.join(&item.below);
            match item.entry.metadata.is_dir() {
                true => writer.copy_directory(&item.entry, &path, change)?,
                false => writer.copy_file(&item.entry, &path, change)?,
            }
        }
        Ok(())
    }
}

impl<'a> Selection<'a> {
    fn context(context: &'a BuildContext) -> Self {
        Self {
            tree: &context.tree,
            context: Some(context),
            place: "the build context".to_owned(),
        }
    }

    fn tree_resolve(&self, path: &Path) -> Result<Option<Entry>, OpError> {
        Ok(self.tree.resolve(path)?)
    }

    fn excludes(&self, path: &Path) -> bool {
        self.context.is_some_and(|context| {
            let relative = relative(path);
            !relative.is_empty() && context.ignore.excludes(&relative)
        })
    }

    /// Whether a walk has to look into an excluded directory.
    fn may_include_below(&self, path: &Path) -> bool {
        self.context
            .is_none_or(|context| context.ignore.may_include_below(&relative(path)))
    }

    /// An entry with all below it that is not ignored; none when nothing is left of it.
    fn source(&self, name: PathBuf, entry: Entry) -> Result<Option<Source>, OpError> {
        let root = entry.path.clone();
        let mut items = Vec::new();
        self.collect(entry, &root, &mut items)?;
        Ok((!items.is_empty()).then_some(Source { name, items }))
    }

    /// Appends an entry and what is below it. An ignored directory appears only if something below it does.
    fn collect(&self, entry: Entry, root: &Path, items: &mut Vec<Item>) -> Result<(), OpError> {
        let excluded = self.excludes(&entry.path);
        let is_directory = entry.metadata.is_dir();
        if excluded && !(is_directory && self.may_include_below(&entry.path)) {
            return Ok(());
        }
        let below = entry.path.strip_prefix(root).unwrap_or(&entry.path).to_owned();
        let position = items.len();
        items.push(Item {
            entry: entry.clone(),
            below,
        });
        if is_directory {
            for name in self.tree.read_dir(&entry)? {
                if let Some(child) = self.tree.child(&entry, &name)? {
                    self.collect(child, root, items)?;
                }
            }
            if excluded && items.len() == position + 1 {
                items.pop();
            }
        }
        Ok(())
    }

    /// Entries that a pattern matches, component by component as Go's filepath.Glob; sorted, without the ignored.
    fn matches(&self, pattern: &Path) -> Result<Vec<Entry>, OpError> {
        let mut found = vec![self.tree.root()?];
        for component in pattern.iter().filter(|component| component.as_bytes() != b"/") {
            let mut next = Vec::new();
            for directory in found.iter().filter(|entry| entry.metadata.is_dir()) {
                for name in self.tree.read_dir(directory)? {
                    let matched = glob_match(component.as_bytes(), name.as_bytes())
                        .map_err(|error| OpError::Copy(format!("`{}`: {error}", pattern.display())))?;
                    let child = if matched {
                        self.tree.resolve(&directory.path.join(&name))?
                    } else {
                        None
                    };
                    next.extend(child);
                }
            }
            found = next;
        }
        let mut seen = BTreeSet::new();
        found.retain(|entry| seen.insert(entry.path.clone()));
        Ok(found)
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
        let ignore_name = context.ignore_name.as_deref()?;
        self.tree.resolve(clean).ok()??;
        let rule = context.ignore.deciding_rule(&relative(clean))?;
        let (line, pattern) = (rule.line, &rule.pattern);
        Some(format!(
            "it is there, but `{pattern}` in {ignore_name}:{line} leaves it out of the build context"
        ))
    }

    fn near_hint(&self, clean: &Path) -> Option<String> {
        let parent = self.tree.resolve(clean.parent()?).ok()??;
        let names: Vec<String> = self
            .tree
            .read_dir(&parent)
            .ok()?
            .iter()
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        let name = clean.file_name()?.to_str()?;
        let near = nearest(name, names.iter().map(String::as_str))?;
        Some(format!("did you mean `{}`?", relative(&parent.path.join(near))))
    }
}

fn comment_hint(written: &str) -> Option<String> {
    written.starts_with('#').then(|| {
        "a comment must stand on a line of its own: here `#` and what follows are file names".to_owned()
    })
}

/// A path of the tree without its leading slash.
fn relative(path: &Path) -> String {
    path.strip_prefix("/")
        .unwrap_or(path)
        .to_string_lossy()
        .into_owned()
}

/// The pattern that matches nothing but this path.
fn escaped(path: &str) -> String {
    let special = |c| matches!(c, '*' | '?' | '[' | '\\');
    path.chars()
        .flat_map(|c| special(c).then_some('\\').into_iter().chain([c]))
        .collect()
}

fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '[', '\\'])
}
