//! A Dockerfile as rules see it: stages, what they stand on, and what variables are worth where.

mod variables;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::OnceLock;

use camino::Utf8PathBuf;
use plimsoll_diagnostics::{Diagnostic, Source, Span};
use plimsoll_dockerfile::{Dockerfile, From, Instruction, InstructionKind, Unfolded, Word};

use crate::shell::Script;
use crate::shell::external::External;
use crate::suppress::{self, Comments};
use variables::Binding;
pub use variables::Variable;

/// How a Dockerfile is built, as far as it is known: what `--target`, `--build-arg`, `--platform`
/// or a compose file's `build:` say.
#[derive(Clone, Debug, Default)]
pub struct BuildSettings {
    /// The stages that are built, by name or number; none is the last, and so is an empty name.
    pub targets: Vec<String>,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    /// The platform of the result, `linux/amd64`; none is this machine's.
    pub platform: Option<String>,
}

/// A Dockerfile, parsed, with what is worked out from it.
#[derive(Debug)]
pub struct DockerfileView {
    /// The file.
    pub path: Utf8PathBuf,
    /// Its text, under the name the user knows.
    pub source: Source,
    /// Its tree: every instruction that could be understood.
    pub dockerfile: Dockerfile,
    /// What the parser says about the rest, and warnings.
    pub diagnostics: Vec<Diagnostic>,
    /// Stages in order.
    pub stages: Vec<Stage>,
    /// How it is built.
    pub settings: BuildSettings,
    comments: Comments,
    /// What ShellCheck says about its shell text, where it was asked.
    pub shellcheck: Vec<External>,
    /// `ARG`s before the first `FROM`.
    globals: Vec<Binding>,
    /// Of every instruction the stage that it stands in.
    owners: Vec<Option<usize>>,
    /// Stages that ship, by number.
    shipped: Vec<usize>,
    scripts: Vec<OnceLock<Option<Script>>>,
}

/// A `FROM` and what follows it.
#[derive(Debug)]
pub struct Stage {
    /// Its number, from 0.
    pub index: usize,
    /// The instruction that begins it.
    pub from: usize,
    /// Its instructions, without the FROM.
    pub body: Range<usize>,
    /// Its name as it is written.
    pub name: Option<Word>,
    /// What it stands on.
    pub base: Base,
    /// The image's name with its variables replaced; none where one of them has no value.
    pub image: Option<String>,
    /// The platform with its variables replaced.
    pub platform: Option<String>,
    bindings: Vec<Binding>,
}

/// What a stage stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// Nothing.
    Scratch,
    /// An earlier stage.
    Stage(usize),
    /// An image.
    Image(String),
    /// A variable without a value decides.
    Unknown,
}

/// An instruction in its stage.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// Its number in the file: what [`DockerfileView::script`] and the like want to know.
    pub at: usize,
    /// Its stage; none before the first FROM.
    pub stage: Option<&'a Stage>,
    /// The instruction.
    pub instruction: &'a Instruction,
}

impl<'a> Step<'a> {
    /// What it says.
    pub fn kind(self) -> &'a InstructionKind {
        &self.instruction.kind
    }

    /// What it says, or what its ONBUILD makes others say.
    pub fn effective(self) -> &'a InstructionKind {
        match &self.instruction.kind {
            InstructionKind::Onbuild(inner) => &inner.kind,
            kind => kind,
        }
    }

    /// Where it stands, continuation lines and here-documents included.
    pub fn span(self) -> Span {
        self.instruction.span
    }
}

impl DockerfileView {
    /// Parses a Dockerfile and works out its stages.
    pub fn new(path: impl Into<Utf8PathBuf>, source: &Source, settings: BuildSettings) -> Self {
        let parsed = Dockerfile::parse(source);
        let count = parsed.dockerfile.instructions.len();
        let mut view = Self {
            path: path.into(),
            source: source.clone(),
            dockerfile: parsed.dockerfile,
            diagnostics: parsed.diagnostics,
            stages: Vec::new(),
            settings,
            comments: Comments::default(),
            shellcheck: Vec::new(),
            globals: Vec::new(),
            owners: vec![None; count],
            shipped: Vec::new(),
            scripts: (0..count).map(|_| OnceLock::new()).collect(),
        };
        view.read_globals();
        view.read_stages();
        view.shipped = view.find_shipped();
        view.comments = suppress::of_dockerfile(&view);
        view
    }

    /// Whether the text is in another frontend's language: then nothing is known about it.
    pub fn is_foreign(&self) -> bool {
        self.diagnostics
            .iter()
            .any(|diagnostic| diagnostic.code == "unknown-frontend")
    }

    /// Every instruction in the order of the text.
    pub fn steps(&self) -> impl DoubleEndedIterator<Item = Step<'_>> {
        (0..self.dockerfile.instructions.len()).map(|at| self.step(at))
    }

    /// The instructions of a stage, without its FROM.
    pub fn steps_of(&self, stage: &Stage) -> impl DoubleEndedIterator<Item = Step<'_>> + use<'_> {
        stage.body.clone().map(|at| self.step(at))
    }

    /// An instruction by its number.
    pub fn step(&self, at: usize) -> Step<'_> {
        Step {
            at,
            stage: self.owners[at].map(|stage| &self.stages[stage]),
            instruction: &self.dockerfile.instructions[at],
        }
    }

    /// The FROM of a stage.
    pub fn from(&self, stage: &Stage) -> &From {
        match &self.dockerfile.instructions[stage.from].kind {
            InstructionKind::From(from) => from,
            _ => unreachable!("a stage begins with FROM"),
        }
    }

    /// The stages whose result somebody runs: the last, or those that the settings name.
    pub fn shipped(&self) -> impl Iterator<Item = &Stage> {
        self.shipped.iter().map(|stage| &self.stages[*stage])
    }

    /// Whether a stage's result is run by somebody.
    pub fn ships(&self, stage: &Stage) -> bool {
        self.shipped.contains(&stage.index)
    }

    /// A stage, the stage that it stands on, and so on: what becomes part of its image.
    pub fn chain<'a>(&'a self, stage: &'a Stage) -> impl Iterator<Item = &'a Stage> {
        std::iter::successors(Some(stage), |stage| match stage.base {
            Base::Stage(index) => Some(&self.stages[index]),
            _ => None,
        })
    }

    /// The image at the bottom of a stage's chain.
    pub fn base_image<'a>(&'a self, stage: &'a Stage) -> Option<&'a str> {
        match &self.chain(stage).last()?.base {
            Base::Image(name) => Some(name),
            _ => None,
        }
    }

    /// The stage of a name or number, among those before `below`: the way `COPY --from` and `FROM` look for one.
    pub fn stage_named(&self, name: &str, below: usize) -> Option<&Stage> {
        let before = &self.stages[..below.min(self.stages.len())];
        let named = |stage: &&Stage| {
            let own = stage.name.as_ref();
            own.is_some_and(|own| own.value.eq_ignore_ascii_case(name))
        };
        let by_number = || name.parse::<usize>().ok().and_then(|index| before.get(index));
        before.iter().rev().find(named).or_else(by_number)
    }

    /// The words of the SHELL instruction in force at an instruction; none is the default of the image.
    pub fn shell_words(&self, at: usize) -> Option<&[Word]> {
        let stage = self.step(at).stage?;
        let mut end = at;
        for stage in self.chain(stage) {
            let mut earlier = self.dockerfile.instructions[stage.from..end.max(stage.from)]
                .iter()
                .rev();
            let found = earlier.find_map(|instruction| match &instruction.kind {
                InstructionKind::Shell(words) => Some(words.as_slice()),
                _ => None,
            });
            if found.is_some() {
                return found;
            }
            if let Base::Stage(below) = stage.base {
                end = self.stages[below].body.end;
            }
        }
        None
    }

    /// The shell that `# hadolint shell=` names.
    pub fn shell_pragma(&self) -> Option<&str> {
        self.comments.shell.as_deref()
    }

    pub(crate) fn comments(&self) -> &Comments {
        &self.comments
    }

    /// The shell text of an instruction, parsed once.
    pub fn script(&self, at: usize) -> Option<&Script> {
        self.scripts[at].get_or_init(|| Script::of(self, at)).as_ref()
    }

    /// A span of an instruction on one line, with the way back.
    pub fn unfold(&self, span: Span) -> Unfolded {
        Unfolded::new(&self.source, span, self.dockerfile.directives.escape)
    }

    /// What the parser warned of under this code (`empty-continuation`).
    pub fn warnings<'a>(&'a self, code: &'a str) -> impl Iterator<Item = &'a Diagnostic> {
        self.diagnostics
            .iter()
            .filter(move |diagnostic| diagnostic.code == code)
    }

    fn read_stages(&mut self) {
        let starts = (0..self.dockerfile.instructions.len())
            .filter(|at| matches!(self.dockerfile.instructions[*at].kind, InstructionKind::From(_)));
        let starts: Vec<usize> = starts.collect();
        for (index, &from) in starts.iter().enumerate() {
            let end = starts
                .get(index + 1)
                .copied()
                .unwrap_or(self.dockerfile.instructions.len());
            self.owners[from..end].fill(Some(index));
            let stage = self.stage(index, from, from + 1..end);
            self.stages.push(stage);
            self.bind(index);
        }
    }

    fn stage(&self, index: usize, from: usize, body: Range<usize>) -> Stage {
        let InstructionKind::From(words) = &self.dockerfile.instructions[from].kind else {
            unreachable!("a stage begins with FROM")
        };
        let image = self.expand_global(&words.image);
        let base = match image.as_deref() {
            None | Some("") => Base::Unknown,
            // By name only: a number there would be an image called so.
            Some(name) => match self
                .stage_named(name, index)
                .filter(|_| name.parse::<usize>().is_err())
            {
                Some(stage) => Base::Stage(stage.index),
                None if name == "scratch" => Base::Scratch,
                None => Base::Image(name.to_owned()),
            },
        };
        Stage {
            index,
            from,
            body,
            name: words.name.clone(),
            base,
            platform: words
                .platform
                .as_ref()
                .and_then(|platform| self.expand_global(platform)),
            image,
            bindings: Vec::new(),
        }
    }

    fn find_shipped(&self) -> Vec<usize> {
        let count = self.stages.len();
        let named = self.settings.targets.iter();
        let mut shipped: Vec<usize> = named
            .filter_map(|target| match target.as_str() {
                "" => count.checked_sub(1),
                target => self.stage_named(target, count).map(|stage| stage.index),
            })
            .collect();
        if shipped.is_empty() {
            shipped.extend(count.checked_sub(1));
        }
        shipped.sort_unstable();
        shipped.dedup();
        shipped
    }
}

#[cfg(test)]
mod tests;
