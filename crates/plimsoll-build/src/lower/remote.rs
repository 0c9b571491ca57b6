//! Sources that are fetched: URLs and repositories of ADD, named contexts.

use plimsoll_diagnostics::Span;
use plimsoll_dockerfile::{Copy, CopySource, Word};
use plimsoll_oci::Digest;
use plimsoll_solver::VertexId;

use super::{Lower, Lowering, StageState};
use crate::op::{CopyOp, GitOp, HttpOp, InlineFile, Operation, SourcePath, SourceTree};
use crate::plan::Stage;
use crate::source::{NamedContext, Remote, file_name};

/// Sources of one COPY or ADD that are in one tree. Most have a single group; an ADD of two URLs has two, and makes
/// two layers.
pub(super) struct Group {
    pub(super) tree: SourceTree,
    pub(super) vertex: Option<VertexId>,
    pub(super) paths: Vec<SourcePath>,
    pub(super) inline: Vec<InlineFile>,
    /// Fetched: archives are unpacked only when asked for.
    pub(super) remote: bool,
}

impl Lowering<'_> {
    /// Sorts the sources by the trees they are in, in order.
    pub(super) fn groups(
        &mut self,
        state: &StageState,
        copy: &Copy,
        add: bool,
        (tree, vertex): (SourceTree, Option<VertexId>),
    ) -> Lower<Vec<Group>> {
        let local = || Group {
            tree: tree.clone(),
            vertex,
            paths: Vec::new(),
            inline: Vec::new(),
            remote: false,
        };
        let mut groups: Vec<Group> = Vec::new();
        for source in &copy.sources {
            let remote = match source {
                CopySource::Path(word) => self.remote(state, copy, word, add)?,
                CopySource::Heredoc(_) => None,
            };
            if let Some(group) = remote {
                groups.push(group);
                continue;
            }
            if groups.last().is_none_or(|group| group.remote) {
                groups.push(local());
            }
            let group = groups.last_mut().expect("one was pushed if there was none");
            match source {
                CopySource::Path(word) => group.paths.push(SourcePath {
                    path: self.expand(state, word)?,
                    span: word.span,
                }),
                CopySource::Heredoc(heredoc) => group.inline.push(self.inline_file(state, heredoc)?),
            }
        }
        if let Some(word) = copy
            .checksum
            .as_ref()
            .filter(|_| !groups.iter().all(|group| group.remote))
        {
            return Err(self.error(
                "checksum",
                word.span,
                "--checksum is for URLs and git repositories",
            ));
        }
        Ok(groups)
    }

    /// A source that is fetched; none for a path.
    fn remote(&mut self, state: &StageState, copy: &Copy, word: &Word, add: bool) -> Lower<Option<Group>> {
        let text = self.expand(state, word)?;
        let remote = Remote::parse(&text)
            .map_err(|error| self.error("remote-source", word.span, error.to_string()))?;
        let Some(remote) = remote else {
            return Ok(None);
        };
        if !add {
            let message = format!("COPY takes no URL: `{}`", remote.shown());
            let error = self.error("remote-copy", word.span, message);
            return Err(Box::new(error.with_help("use ADD for remote files")));
        }
        if let Some(checksum) = copy.checksum.as_ref().filter(|_| copy.sources.len() > 1) {
            let message = "--checksum is of one source, and this ADD has several";
            return Err(self.error("checksum", checksum.span, message));
        }
        let name = remote.shown();
        let (operation, path) = match remote {
            Remote::Http(url) => {
                let file = file_name(&url);
                let checksum = self.checksum(state, copy)?;
                (
                    Operation::Http(HttpOp::new(&url, &file, checksum)),
                    escaped(&file),
                )
            }
            Remote::Git(mut url) => {
                url.keep_git_dir |= copy.keep_git_dir;
                if let Some(word) = &copy.checksum {
                    url.checksum = Some(self.expand(state, word)?);
                }
                (Operation::Git(GitOp::new(url)), "/".to_owned())
            }
        };
        let vertex = self.add(
            self.op(Some(name.clone()), word.span, operation, true),
            Vec::new(),
        );
        Ok(Some(Group {
            tree: SourceTree::Input {
                name: format!("`{name}`"),
                present: true,
            },
            vertex: Some(vertex),
            paths: vec![SourcePath {
                path,
                span: word.span,
            }],
            inline: Vec::new(),
            remote: true,
        }))
    }

    fn checksum(&self, state: &StageState, copy: &Copy) -> Lower<Option<Digest>> {
        let Some(word) = &copy.checksum else {
            return Ok(None);
        };
        let text = self.expand(state, word)?;
        match text.parse() {
            Ok(digest) => Ok(Some(digest)),
            Err(error) => {
                let error = self.error("checksum", word.span, format!("{error}"));
                Err(Box::new(
                    error.with_help("it is written `sha256:` and 64 hexadecimal digits"),
                ))
            }
        }
    }

    /// The files of a named context that is no image.
    pub(super) fn context_tree(&mut self, at: usize, span: Span) -> (SourceTree, Option<VertexId>) {
        let contexts = self.settings.contexts;
        match contexts.get(at) {
            (_, NamedContext::Folder(context)) => (SourceTree::Context(context.clone()), None),
            (name, NamedContext::Remote(remote)) => {
                let vertex = self.context_vertex(at, name, remote, span);
                let tree = SourceTree::Input {
                    name: format!("context `{name}`"),
                    present: true,
                };
                (tree, Some(vertex))
            }
            (_, NamedContext::Image(_) | NamedContext::Layout { .. }) => {
                unreachable!("images are origins of their own")
            }
        }
    }

    fn context_vertex(&mut self, at: usize, name: &str, remote: &Remote, span: Span) -> VertexId {
        if let Some(vertex) = self.context_vertices.get(&at) {
            return *vertex;
        }
        let shown = format!("[context {name}] {}", remote.shown());
        let operation = match remote {
            // BuildKit's name for it: the file, also when it is an archive.
            Remote::Http(url) => Operation::Http(HttpOp::new(url, "context", None)),
            Remote::Git(url) => Operation::Git(GitOp::new(url.clone())),
        };
        let vertex = self.add(self.op(Some(shown), span, operation, true), Vec::new());
        self.context_vertices.insert(at, vertex);
        vertex
    }

    /// A stage that stands on the files of a context, with a configuration from nothing.
    pub(super) fn context_base(&mut self, at: usize, stage: &Stage<'_>, name: String) -> StageState {
        let mut state = StageState::scratch(&stage.platform);
        let span = stage.base.1;
        state.vertex = match self.context_tree(at, span) {
            (_, Some(vertex)) => Some(vertex),
            (tree, None) => {
                let path = "/".to_owned();
                let copy = CopyOp {
                    destination: "/".to_owned(),
                    into_directory: true,
                    ..CopyOp::whole(tree, SourcePath { path, span })
                };
                Some(self.add(self.op(Some(name), span, Operation::Copy(copy), true), Vec::new()))
            }
        };
        state.layer_row(format!("FROM {} # buildkit", self.settings.contexts.get(at).0));
        state
    }
}

/// A path as a pattern that matches nothing else.
fn escaped(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len() + 1);
    for character in path.chars() {
        if matches!(character, '*' | '?' | '[' | '\\') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    format!("/{escaped}")
}
