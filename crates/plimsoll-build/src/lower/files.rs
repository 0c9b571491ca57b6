//! COPY and ADD.

use std::collections::HashMap;

use plimsoll_dockerfile::{Copy, Heredoc, Instruction, Word};
use plimsoll_solver::VertexId;

use super::{Lower, Lowering, StageState, Steps, join};
use crate::error::OpError;
use crate::op::{Chown, CopyOp, InlineFile, LinkOp, ModeChange, Operation, SourceTree, patterns};
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
        let tree = self.source_tree(instruction, from, states);
        let groups = self.groups(state, copy, add, tree)?;
        let destination = self.expand(state, &copy.destination)?;
        let into_directory = destination.ends_with('/') || destination.ends_with("/.") || destination == ".";
        let name = steps.next(&instruction.text, Some(state));
        for group in groups {
            let op = CopyOp {
                instruction: if add { "ADD" } else { "COPY" },
                tree: group.tree,
                into_directory,
                destination: join(state.workdir(), &destination),
                paths: group.paths,
                inline: group.inline,
                chown: self.chown(state, copy)?,
                chmod: copy
                    .chmod
                    .as_ref()
                    .map(|word| self.mode(state, word))
                    .transpose()?,
                unpack: copy.unpack.unwrap_or(add && !group.remote),
                parents: copy.parents,
                exclude: self.exclude(state, copy)?,
                link: copy.link,
                found: Default::default(),
            };
            self.push_copy(state, name.clone(), instruction, op, group.vertex);
            state.layer_row(format!("{} # buildkit", super::squeeze(&instruction.text)));
        }
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
        let layer = self.add(layer, inputs);
        state.vertex = Some(match state.vertex {
            None => layer,
            Some(base) => {
                let laid = self.op(None, instruction.span, Operation::Link(LinkOp), true);
                self.add(laid, vec![base, layer])
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

    pub(super) fn source_tree(
        &mut self,
        instruction: &Instruction,
        from: Option<&Origin>,
        states: &HashMap<usize, StageState>,
    ) -> (SourceTree, Option<VertexId>) {
        match from {
            None => (SourceTree::Context(self.context.clone()), None),
            Some(Origin::Context(at)) => self.context_tree(*at, instruction.span),
            Some(Origin::Scratch) => {
                let name = "`scratch`".to_owned();
                (SourceTree::Input { name, present: false }, None)
            }
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

    pub(super) fn inline_file(&self, state: &StageState, heredoc: &Heredoc) -> Lower<InlineFile> {
        let text = if heredoc.expand {
            let lookup = |name: &str| self.variable(state, name);
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
