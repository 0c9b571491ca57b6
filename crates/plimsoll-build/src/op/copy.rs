//! COPY and ADD.
//!
//! Selecting comes first and is done once: what is hashed for the cache key is what is copied. The rules are
//! BuildKit's (`solver/llbsolver/file` and tonistiigi/fsutil's `copy`): a directory gives its contents, a wildcard
//! that matches one flattens it, the owner of context files is root, of other stages' files it is kept.

mod content;
mod place;
mod previous;
mod select;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use plimsoll_diagnostics::Span;
use plimsoll_dockerfile::IgnoreFile;
use plimsoll_oci::{Digest, Hasher};
use plimsoll_store::{MergedTree, Store};

use super::mode::ModeChange;
use super::writer::Change;
use super::{Output, Owner, Services, Writer, blocking, hash, tree, user};
use crate::context::{BuildContext, ContextIndex};
use crate::error::OpError;
use crate::explain::lists::Listed;
pub(crate) use previous::{Facts, Previous};
pub(crate) use select::patterns;
use select::{Selection, Source};

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

/// `--chown`, expanded.
#[derive(Clone, Debug)]
pub(crate) struct Chown {
    pub(crate) text: String,
    pub(crate) span: Span,
}

impl Chown {
    /// Tells whether the image's passwd or group have to be asked.
    pub(crate) fn has_names(&self) -> bool {
        self.text
            .split(':')
            .any(|part| !part.is_empty() && part.parse::<u32>().is_err())
    }
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
    pub(crate) chown: Option<Chown>,
    pub(crate) chmod: Option<ModeChange>,
    /// Local archives are unpacked.
    pub(crate) unpack: bool,
    /// Paths of the sources are kept.
    pub(crate) parents: bool,
    /// Patterns of what is not copied, relative to each source.
    pub(crate) exclude: Vec<String>,
    /// The layer is made on nothing; the first input is only asked for names of users, if it is there at all.
    pub(crate) link: bool,
    /// What the sources name, once that was looked up.
    pub(crate) found: Found,
}

/// Filled in by the cache key, used by the copy.
pub(crate) type Found = Arc<OnceLock<Sources>>;

/// What the sources of a COPY name, and what it held when the key was made.
pub(crate) struct Sources {
    sources: Vec<Source>,
    digest: Digest,
}

impl CopyOp {
    /// Where [`CopyOp::whole`] copies to.
    pub(crate) const WHOLE: &'static str = "/files";

    /// Copies what one path names, and nothing else, to [`CopyOp::WHOLE`].
    pub(crate) fn whole(tree: SourceTree, path: SourcePath) -> Self {
        Self {
            instruction: "COPY",
            tree,
            paths: vec![path],
            inline: Vec::new(),
            destination: Self::WHOLE.to_owned(),
            into_directory: false,
            chown: None,
            chmod: None,
            unpack: false,
            parents: false,
            exclude: Vec::new(),
            link: false,
            found: Found::default(),
        }
    }

    /// The digest of what the paths name in the files of an output.
    pub(crate) async fn selected(&self, services: &Services, input: &Output) -> Result<Digest, OpError> {
        let (op, store, input) = (self.clone(), services.store.clone(), input.clone());
        blocking(move || Ok(op.select(&tree(&store, &input)?, None)?.digest)).await
    }

    /// The definition, and for sources in the context their content.
    pub(super) async fn key(&self, services: &Services) -> Result<Digest, OpError> {
        let definition = self.definition();
        match &self.tree {
            SourceTree::Context(context) if !self.paths.is_empty() => {
                let (op, context, store) = (self.clone(), context.clone(), services.store.clone());
                let content = blocking(move || op.context_digest(&context, &store)).await?;
                Ok(hash("copy", &[definition, content]))
            }
            _ => Ok(definition),
        }
    }

    /// The definition, and which context it is about.
    pub(super) fn definition_in_build(&self) -> Digest {
        let context = match &self.tree {
            SourceTree::Context(context) => format!("{:p}", Arc::as_ptr(context)),
            SourceTree::Input { .. } => String::new(),
        };
        let mut hasher = Hasher::new();
        hasher.field(self.definition().as_bytes());
        hasher.field(context);
        hasher.finish()
    }

    fn definition(&self) -> Digest {
        let mut hasher = Hasher::new();
        hasher.field(self.instruction);
        let paths: Vec<&str> = self.paths.iter().map(|source| source.path.as_str()).collect();
        let chown = self.chown.as_ref().map(|chown| &chown.text);
        hasher.field(format!(
            "{paths:?} {:?} {} {chown:?} {:?} {} {} {:?} {}",
            self.destination,
            self.into_directory,
            self.chmod,
            self.unpack,
            self.parents,
            self.exclude,
            self.link
        ));
        for file in &self.inline {
            hasher.field(&file.name);
            hasher.field(&file.data);
        }
        hasher.finish()
    }

    /// The base's content, and of the source just the files that are read. A layer of its own does not depend on the
    /// base, only on the ids of the names in `--chown`.
    pub(super) async fn content_key(
        &self,
        services: &Services,
        inputs: &[Output],
    ) -> Result<Digest, OpError> {
        let (base, source) = self.split(inputs);
        let (op, store) = (self.clone(), services.store.clone());
        let (base, source) = (base.cloned(), source.cloned());
        blocking(move || {
            let onto = match (&base, op.link) {
                (_, true) => op.owner_digest(&store, base.as_ref())?,
                (Some(base), false) => base.content,
                (None, false) => Digest::of("scratch"),
            };
            let Some(source) = source else {
                return Ok(hash("onto", &[onto]));
            };
            let digest = op.select(&tree(&store, &source)?, None)?.digest;
            Ok(hash("onto", &[onto, digest]))
        })
        .await
    }

    fn owner_digest(&self, store: &Store, base: Option<&Output>) -> Result<Digest, OpError> {
        let owner = self.owner(store, base)?.unwrap_or_default();
        Ok(Digest::of(format!("{}:{}", owner.uid, owner.gid)))
    }

    /// The owner that `--chown` names; names are looked up in the stage's files.
    fn owner(&self, store: &Store, base: Option<&Output>) -> Result<Option<Owner>, OpError> {
        let Some(chown) = &self.chown else { return Ok(None) };
        let layers = match base {
            Some(base) => tree(store, base)?,
            None => MergedTree::new(Vec::new()),
        };
        let owner = user::owner(&layers, &chown.text);
        owner.map(Some).map_err(|error| error.at(chown.span))
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

    fn context_digest(&self, context: &BuildContext, store: &Store) -> Result<Digest, OpError> {
        let index = context.index(store);
        Ok(self.select(&context.tree, Some((context, index)))?.digest)
    }

    /// Digest and list of what is read, if that was looked up.
    pub(super) fn list(&self) -> Option<(Digest, impl FnOnce() -> Vec<Listed>)> {
        let found = self.found.get()?;
        let list = || content::list(&found.sources, &self.hashed_change(), self.has_input());
        Some((found.digest, list))
    }

    /// Tells whether the last input is what files are taken from.
    pub(super) fn has_input(&self) -> bool {
        matches!(self.tree, SourceTree::Input { present: true, .. })
    }

    /// Owner and mode as far as they are known from the instruction alone.
    fn hashed_change(&self) -> Change {
        let from_context = matches!(self.tree, SourceTree::Context(_));
        Change {
            owner: (from_context || self.chown.is_some()).then(Owner::default),
            mode: self.chmod.clone(),
        }
    }

    /// What the paths and patterns name, looked up once.
    fn select(
        &self,
        tree: &MergedTree,
        context: Option<(&BuildContext, &ContextIndex)>,
    ) -> Result<&Sources, OpError> {
        if let Some(found) = self.found.get() {
            return Ok(found);
        }
        let exclude = match self.exclude.is_empty() {
            true => IgnoreFile::empty(),
            false => patterns(&self.exclude)?,
        };
        let selection = Selection {
            tree,
            context: context.map(|(context, _)| context),
            place: self.place(),
            exclude: &exclude,
        };
        let looked = SystemTime::now();
        let mut sources = selection.sources(&self.paths, self.parents)?;
        content::fill(&mut sources, context.map(|(_, index)| index), looked)?;
        let digest = content::digest(&sources, &self.hashed_change());
        Ok(self.found.get_or_init(|| Sources { sources, digest }))
    }

    fn place(&self) -> String {
        match &self.tree {
            SourceTree::Input { name, .. } => name.clone(),
            SourceTree::Context(context) => context.place(),
        }
    }

    pub(super) async fn run(
        &self,
        services: &Services,
        inputs: &[Output],
        content: Digest,
    ) -> Result<Output, OpError> {
        let (base, source) = self.split(inputs);
        let (base, source) = (base.cloned(), source.cloned());
        let (op, store) = (self.clone(), services.store.clone());
        blocking(move || op.copy(&store, base.as_ref(), source.as_ref(), content)).await
    }

    fn copy(
        &self,
        store: &Store,
        base: Option<&Output>,
        source: Option<&Output>,
        content: Digest,
    ) -> Result<Output, OpError> {
        let given = self.owner(store, base)?;
        let below = base.filter(|_| !self.link).map(|base| base.snapshot);
        let active = store.snapshots().prepare(below)?;
        let memory = self.memory(store);
        let previous = memory
            .as_ref()
            .and_then(|path| Previous::load(path, store, active.lowers()));
        let mut writer = Writer::new(active.upper(), active.lowers())
            .parent_mode(self.chmod.as_ref().map_or(0o755, ModeChange::parent))
            .previous(previous);
        let change = Change {
            owner: given.or(self.hashed_change().owner),
            mode: self.chmod.clone(),
        };
        let sources = self.sources(store, source)?;
        self.place_all(&mut writer, sources, &change, given)?;
        let written = writer.finish()?;
        let snapshot = store.snapshots().commit(active)?;
        if let Some(path) = memory {
            previous::save(&path, snapshot, &written);
        }
        Ok(Output { snapshot, content })
    }

    fn sources(&self, store: &Store, source: Option<&Output>) -> Result<&[Source], OpError> {
        match (&self.tree, source) {
            _ if self.paths.is_empty() => Ok(&[]),
            (SourceTree::Context(context), _) => {
                let found = self.select(&context.tree, Some((context, context.index(store))))?;
                Ok(&found.sources)
            }
            (SourceTree::Input { .. }, Some(source)) => {
                Ok(&self.select(&tree(store, source)?, None)?.sources)
            }
            (SourceTree::Input { name, .. }, None) => {
                let first = self.paths.first();
                Err(OpError::NotFound {
                    path: first.map(|source| source.path.clone()).unwrap_or_default(),
                    place: format!("{name}, which has no files"),
                    span: first.map(|source| source.span),
                    hint: None,
                })
            }
        }
    }

    /// Where the files of this copy's last run are remembered.
    fn memory(&self, store: &Store) -> Option<PathBuf> {
        match &self.tree {
            SourceTree::Context(context) if !self.paths.is_empty() => {
                context.file(store, &format!("{}.copy", self.definition().short()))
            }
            _ => None,
        }
    }
}
