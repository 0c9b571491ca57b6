//! COPY and ADD.

use std::collections::HashMap;

use plimsoll_dockerfile::{Copy, CopySource, Heredoc, Instruction, Word};
use plimsoll_solver::VertexId;

use super::{Lower, Lowering, StageState, Steps, join};
use crate::error::OpError;
use crate::op::{Chown, CopyOp, InlineFile, LinkOp, ModeChange, Operation, SourcePath, SourceTree, patterns};
use crate::plan::Origin;

impl Lowering<'_> {
    #[expect(
        clippy::too_many_arguments,
        reason = "COPY is where stages, context and state meet"
    )]
    pub(super) fn copy(
        &mut self,
        state: &mut StageState,
        instruction: &Instruction,
        copy: &Copy,
        add: bool,
        from: Option<&Origin>,
        states: &HashMap<usize, StageState>,
        steps: &mut Steps,
    ) -> Lower<()> {
        self.refuse_unsupported_copy(copy)?;
        let (tree, from) = self.source_tree(instruction, from, states);
        let mut paths = Vec::new();
        let mut inline = Vec::new();
        for source in &copy.sources {
            match source {
                CopySource::Path(word) => paths.push(SourcePath {
                    path: self.source_path(state, word, add)?,
                    span: word.span,
                }),
                CopySource::Heredoc(heredoc) => inline.push(self.inline_file(state, heredoc)?),
            }
        }
        let destination = self.expand(state, &copy.destination)?;
        let op = CopyOp {
            instruction: if add { "ADD" } else { "COPY" },
            tree,
            into_directory: destination.ends_with('/') || destination.ends_with("/.") || destination == ".",
            destination: join(state.workdir(), &destination),
            paths,
            inline,
            chown: self.chown(state, copy)?,
            chmod: copy
                .chmod
                .as_ref()
                .map(|word| self.mode(state, word))
                .transpose()?,
            unpack: copy.unpack.unwrap_or(add),
            parents: copy.parents,
            exclude: self.exclude(state, copy)?,
            link: copy.link,
            found: Default::default(),
        };
        let name = steps.next(&instruction.text);
        self.push_copy(state, name, instruction, op, from);
        state.layer_row(format!("{} # buildkit", super::squeeze(&instruction.text)));
        Ok(())
    }

    /// Adds the vertex of a copy; with `--link` two: the layer on nothing, and laying it on the stage.
    fn push_copy(
        &mut self,
        state: &mut StageState,
        name: String,
        instruction: &Instruction,
        op: CopyOp,
        from: Option<VertexId>,
    ) {
        if !op.link {
            return self.push(state, name, instruction.span, Operation::Copy(op), from);
        }
        // Names of users are the stage's.
        let asked = state
            .vertex
            .filter(|_| op.chown.as_ref().is_some_and(Chown::has_names));
        let inputs = asked.into_iter().chain(from).collect();
        let layer = self.op(Some(name), instruction.span, Operation::Copy(op), true);
        let layer = self.graph.add(layer, inputs);
        state.vertex = Some(match state.vertex {
            None => layer,
            Some(base) => {
                let laid = self.op(None, instruction.span, Operation::Link(LinkOp), true);
                self.graph.add(laid, vec![base, layer])
            }
        });
    }

    fn chown(&self, state: &StageState, copy: &Copy) -> Lower<Option<Chown>> {
        let Some(word) = &copy.chown else { return Ok(None) };
        let text = self.expand(state, word)?;
        Ok(Some(Chown {
            text,
            span: word.span,
        }))
    }

    fn exclude(&self, state: &StageState, copy: &Copy) -> Lower<Vec<String>> {
        let read = |word: &Word| {
            let pattern = self.expand(state, word)?;
            let refused = |error: OpError| self.error("invalid-pattern", word.span, error.to_string());
            patterns(std::slice::from_ref(&pattern)).map_err(refused)?;
            Ok(pattern)
        };
        copy.exclude.iter().map(read).collect()
    }

    /// `--checksum` and `--keep-git-dir` are about files that come from elsewhere.
    fn refuse_unsupported_copy(&self, copy: &Copy) -> Lower<()> {
        let place = copy.destination.span;
        let flags = [
            ("--checksum", copy.checksum.is_some()),
            ("--keep-git-dir", copy.keep_git_dir),
        ];
        match flags.iter().find(|(_, given)| *given) {
            Some((flag, _)) => {
                Err(self.error("unsupported-flag", place, format!("{flag} is not supported yet")))
            }
            None => Ok(()),
        }
    }

    pub(super) fn source_tree(
        &mut self,
        instruction: &Instruction,
        from: Option<&Origin>,
        states: &HashMap<usize, StageState>,
    ) -> (SourceTree, Option<VertexId>) {
        match from {
            None | Some(Origin::Scratch) => (SourceTree::Context(self.context.clone()), None),
            Some(Origin::Stage(stage)) => {
                let vertex = states[stage].vertex;
                let name = self.plan.stages[*stage]
                    .as_ref()
                    .and_then(|stage| stage.name.clone());
                let name = name.map_or_else(|| format!("stage {stage}"), |name| format!("stage `{name}`"));
                (
                    SourceTree::Input {
                        name,
                        present: vertex.is_some(),
                    },
                    vertex,
                )
            }
            Some(Origin::Image(reference, platform)) => {
                let vertex = self.image_vertex(reference, platform, None, instruction.span);
                (
                    SourceTree::Input {
                        name: format!("image `{}`", reference.familiar()),
                        present: true,
                    },
                    Some(vertex),
                )
            }
        }
    }

    fn source_path(&self, state: &StageState, word: &Word, add: bool) -> Lower<String> {
        let path = self.expand(state, word)?;
        let remote = ["http://", "https://", "git://", "git@", "ssh://"]
            .iter()
            .any(|scheme| path.starts_with(scheme));
        match (remote, add) {
            (false, _) => Ok(path),
            (true, true) => Err(self.error(
                "unsupported-source",
                word.span,
                "ADD of a URL is not supported yet",
            )),
            (true, false) => {
                let error = self.error("remote-copy", word.span, format!("COPY takes no URL: `{path}`"));
                Err(Box::new(error.with_help("use ADD for remote files")))
            }
        }
    }

    fn inline_file(&self, state: &StageState, heredoc: &Heredoc) -> Lower<InlineFile> {
        let text = if heredoc.expand {
            let lookup = |name: &str| state.variable(name);
            plimsoll_dockerfile::expand_heredoc(&heredoc.body.value, &lookup)
                .map_err(|error| self.error("expansion", heredoc.body.span, error.to_string()))?
                .text
        } else {
            heredoc.body.value.clone()
        };
        Ok(InlineFile {
            name: heredoc.delimiter.clone(),
            data: text.into_bytes(),
        })
    }

    /// Octal up to 07777, or symbolic.
    fn mode(&self, state: &StageState, word: &Word) -> Lower<ModeChange> {
        let text = self.expand(state, word)?;
        ModeChange::parse(&text).ok_or_else(|| {
            let error = self.error("invalid-mode", word.span, format!("`{text}` is not a file mode"));
            Box::new(error.with_help(
                "use octal digits up to 7777 such as `755`, or a symbolic mode such as `u=rwX,go=rX`",
            ))
        })
    }
}
