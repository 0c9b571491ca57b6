//! Instructions to operations and image configuration.
//!
//! `FROM`, `RUN`, `COPY`, `ADD` and `WORKDIR` become vertices and layers; everything else only edits the
//! [`ContainerConfig`] and leaves an empty history row, so a changed `LABEL` or `CMD` invalidates no files.

mod change;
mod files;
mod metadata;
mod remote;
mod run;
mod shown;
mod state;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use plimsoll_diagnostics::{Diagnostic, Source, Span};
use plimsoll_dockerfile::{Directives, Dockerfile, Instruction, InstructionKind, Word, expand, nearest};
use plimsoll_image::Image;
use plimsoll_oci::{Digest, ImageRef, Platform};
use plimsoll_solver::{Graph, VertexId};

use crate::context::BuildContext;
use crate::op::{BuildOp, ImageOp, Operation, Services};
use crate::plan::{Origin, Plan, Stage, Step};
use crate::record::{PartKind, StageRecord};
pub use change::change;
pub(crate) use state::StageState;

/// Images by the words of the Dockerfile.
pub(crate) type StageImages = HashMap<(ImageRef, Platform), Image>;

/// What the command line says that lowering needs.
pub(crate) struct LowerSettings<'a> {
    pub(crate) build_args: &'a BTreeMap<String, String>,
    /// Nothing is taken from the cache.
    pub(crate) no_cache: bool,
    /// Nothing of these stages is taken from the cache.
    pub(crate) no_cache_stages: &'a [String],
    /// Network of RUN where the instruction does not say.
    pub(crate) network: crate::BuildNetwork,
    pub(crate) add_hosts: &'a [(String, String)],
    pub(crate) run: &'a crate::RunOptions,
    pub(crate) contexts: &'a crate::source::Contexts,
}

/// The graph, and what the target's stage came to.
pub(crate) struct Lowered {
    pub(crate) graph: Graph<BuildOp>,
    pub(crate) warnings: Vec<Diagnostic>,
    /// One for each plan.
    pub(crate) states: Vec<StageState>,
    /// What a bill of materials is wanted of besides, for each plan.
    pub(crate) extras: Vec<Extras>,
}

/// What `BUILDKIT_SBOM_SCAN_STAGE` and `BUILDKIT_SBOM_SCAN_CONTEXT` name.
#[derive(Default)]
pub(crate) struct Extras {
    pub(crate) stages: Vec<(String, VertexId)>,
    pub(crate) context: bool,
}

/// Lowers the stages of all platforms' plans to one graph. What comes to the same for several is one vertex.
pub(crate) fn lower(
    dockerfile: &Dockerfile,
    plans: &[Plan<'_>],
    images: &StageImages,
    context: &Arc<BuildContext>,
    services: &Arc<Services>,
    settings: &LowerSettings<'_>,
) -> Result<Lowered, Vec<Diagnostic>> {
    let mut lowering = Lowering::new(dockerfile, &plans[0], images, context, Some(services), settings);
    lowering.of_several = plans.len() > 1;
    let states = plans.iter().map(|plan| lowering.target(plan));
    let states: Vec<_> = states
        .collect::<Lower<_>>()
        .map_err(|diagnostic| vec![*diagnostic])?;
    let (states, extras) = states.into_iter().unzip();
    Ok(Lowered {
        warnings: unique(lowering.warnings.into_inner()),
        graph: lowering.graph,
        states,
        extras,
    })
}

/// What several platforms warn of is said once.
fn unique(warnings: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let mut unique: Vec<Diagnostic> = Vec::new();
    for warning in warnings {
        let same = |other: &Diagnostic| (other.span(), &other.message) == (warning.span(), &warning.message);
        if !unique.iter().any(same) {
            unique.push(warning);
        }
    }
    unique
}

type Lower<T> = Result<T, Box<Diagnostic>>;

struct Lowering<'a> {
    dockerfile_source: &'a Source,
    /// The text of the instruction in work.
    source: &'a Source,
    /// Nothing of the stage in work is taken from the cache.
    no_cache: bool,
    /// What looks like a mistake but does not stop the build.
    warnings: RefCell<Vec<Diagnostic>>,
    /// Variables that the words of the instruction in work were expanded with.
    variables: RefCell<Vec<(PartKind, String, String)>>,
    directives: &'a Directives,
    /// Of the platform in work.
    plan: &'a Plan<'a>,
    /// The stage in work.
    stage: Arc<StageRecord>,
    /// Names of steps say for which platform.
    of_several: bool,
    images: &'a StageImages,
    context: &'a Arc<BuildContext>,
    /// What operations get; none where there are none.
    services: Option<&'a Arc<Services>>,
    settings: &'a LowerSettings<'a>,
    graph: Graph<BuildOp>,
    image_vertices: HashMap<(ImageRef, Platform), VertexId>,
    /// Of named contexts that are fetched.
    context_vertices: HashMap<usize, VertexId>,
    /// Steps by name, definition and inputs.
    vertices: HashMap<(Option<String>, Digest, Vec<VertexId>), VertexId>,
}

/// Counts the steps of a stage for the names: `[builder 2/5]`, `[linux/arm64 builder 2/5]`.
struct Steps {
    platform: Option<Platform>,
    stage: String,
    current: usize,
    total: usize,
}

impl Steps {
    fn new(plan: &Plan<'_>, index: usize, stage: &Stage<'_>, platform: Option<Platform>) -> Self {
        let alone = plan.stages.iter().flatten().count() == 1;
        let stage_name = match &stage.name {
            Some(name) => format!("{name} "),
            None if alone => String::new(),
            None => format!("stage-{index} "),
        };
        let total = 1 + stage
            .steps
            .iter()
            .filter(|step| makes_layer(step.instruction))
            .count();
        Self {
            platform,
            stage: stage_name,
            current: 0,
            total,
        }
    }

    /// The name of the next step. One that knows it cross-compiles says for what: `[linux/amd64->arm64 builder 2/5]`.
    fn next(&mut self, text: &str, state: Option<&StageState>) -> String {
        self.current += 1;
        let platform = self.platform.as_ref().map_or_else(String::new, |platform| {
            let target = state.and_then(|state| state.declared_target());
            match target.filter(|target| target.os == platform.os && target != platform) {
                Some(target) => {
                    let target = target.to_string();
                    let (_, architecture) = target.split_once('/').unwrap_or_default();
                    format!("{platform}->{architecture} ")
                }
                None => format!("{platform} "),
            }
        });
        format!(
            "[{platform}{}{}/{}] {}",
            self.stage,
            self.current,
            self.total,
            squeeze(text)
        )
    }
}

/// Joins what continuation lines left apart.
fn squeeze(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn makes_layer(instruction: &Instruction) -> bool {
    matches!(
        instruction.kind,
        InstructionKind::Run(_)
            | InstructionKind::Copy(_)
            | InstructionKind::Add(_)
            | InstructionKind::Workdir(_)
    )
}

impl<'a> Lowering<'a> {
    fn new(
        dockerfile: &'a Dockerfile,
        plan: &'a Plan<'a>,
        images: &'a StageImages,
        context: &'a Arc<BuildContext>,
        services: Option<&'a Arc<Services>>,
        settings: &'a LowerSettings<'a>,
    ) -> Self {
        Self {
            dockerfile_source: &dockerfile.source,
            source: &dockerfile.source,
            no_cache: settings.no_cache,
            warnings: RefCell::default(),
            variables: RefCell::default(),
            directives: &dockerfile.directives,
            plan,
            stage: Arc::default(),
            of_several: false,
            images,
            context,
            services,
            settings,
            graph: Graph::default(),
            image_vertices: HashMap::new(),
            context_vertices: HashMap::new(),
            vertices: HashMap::new(),
        }
    }

    /// Lowers all stages of a plan.
    fn target(&mut self, plan: &'a Plan<'a>) -> Lower<(StageState, Extras)> {
        self.plan = plan;
        let mut states: HashMap<usize, StageState> = HashMap::new();
        // A stage stands on and copies from earlier ones only.
        for (index, stage) in plan.stages.iter().enumerate() {
            let Some(stage) = stage else { continue };
            let state = self.stage(index, stage, &states)?;
            states.insert(index, state);
        }
        let extras = extras(plan, &states);
        let state = states.remove(&plan.target);
        Ok((state.expect("the target is one of its own plan's stages"), extras))
    }

    fn stage(
        &mut self,
        index: usize,
        stage: &Stage<'a>,
        states: &HashMap<usize, StageState>,
    ) -> Lower<StageState> {
        self.source = self.dockerfile_source;
        self.no_cache = self.settings.no_cache || self.filtered(index, stage);
        let runs_on = match &stage.base.0 {
            Origin::Scratch | Origin::Context(_) => &stage.platform,
            Origin::Stage(base) => &states[base].runs_on,
            Origin::Image(_, platform) => platform,
        };
        self.stage = Arc::new(StageRecord {
            index,
            name: stage.name.as_ref().map(ToString::to_string),
            platform: runs_on.to_string(),
        });
        self.note_globals(stage.span);
        let shown = self.of_several.then(|| runs_on.clone());
        let mut steps = Steps::new(self.plan, index, stage, shown);
        let mut state = match &stage.base.0 {
            Origin::Scratch => StageState::scratch(&stage.platform),
            Origin::Stage(base) => states[base].child(),
            Origin::Context(at) => {
                let name = steps.next(&format!("FROM {}", self.settings.contexts.get(*at).0), None);
                self.context_base(*at, stage, name)
            }
            Origin::Image(reference, platform) => {
                let image = &self.images[&(reference.clone(), platform.clone())];
                let name = steps.next(&format!("FROM {reference}"), None);
                let vertex = self.image_vertex(reference, platform, Some(name), stage.span);
                StageState::from_image(image, platform, vertex)
            }
        };
        // They fire here, in the steps below, and are gone.
        state.config.on_build = None;
        if !matches!(stage.base.0, Origin::Image(..) | Origin::Context(_)) {
            steps.current += 1;
        }
        let mut sources = stage.sources.iter();
        for &Step { source, instruction } in &stage.steps {
            self.source = source;
            let count = crate::plan::sources(instruction).len();
            let from: Vec<&Origin> = sources.by_ref().take(count).map(|(origin, _)| origin).collect();
            self.instruction(&mut state, instruction, &from, states, &mut steps)?;
        }
        Ok(state)
    }

    /// The vertex of an image; `name` is shown for a `FROM`, not for a `COPY --from`.
    fn image_vertex(
        &mut self,
        reference: &ImageRef,
        platform: &Platform,
        name: Option<String>,
        span: Span,
    ) -> VertexId {
        let key = (reference.clone(), platform.clone());
        if let Some(vertex) = self.image_vertices.get(&key) {
            return *vertex;
        }
        let op = Box::new(ImageOp {
            image: self.images[&key].clone(),
            reference: reference.clone(),
        });
        let vertex = self.add(self.op(name, span, Operation::Image(op), true), Vec::new());
        self.image_vertices.insert(key, vertex);
        vertex
    }

    fn op(&self, name: Option<String>, span: Span, operation: Operation, cacheable: bool) -> BuildOp {
        BuildOp {
            name,
            span,
            cacheable: cacheable && !self.no_cache,
            source: self.source.clone(),
            stage: self.stage.clone(),
            variables: self.variables.borrow().clone(),
            operation,
            services: self
                .services
                .expect("only instructions without operations do without")
                .clone(),
            key: tokio::sync::OnceCell::new(),
        }
    }

    /// Adds a vertex on the stage's files and makes it the stage's top.
    fn push(
        &mut self,
        state: &mut StageState,
        name: String,
        span: Span,
        operation: Operation,
        from: impl IntoIterator<Item = VertexId>,
    ) {
        let inputs = state.vertex.into_iter().chain(from).collect();
        let op = self.op(Some(name), span, operation, true);
        state.vertex = Some(self.add(op, inputs));
    }

    /// Adds a vertex, or finds it: what several platforms have in common is one step.
    fn add(&mut self, op: BuildOp, inputs: Vec<VertexId>) -> VertexId {
        let key = (op.name.clone(), op.definition(), inputs);
        if let Some(vertex) = self.vertices.get(&key) {
            return *vertex;
        }
        let vertex = self.graph.add(op, key.2.clone());
        self.vertices.insert(key, vertex);
        vertex
    }

    fn error(&self, code: &'static str, span: Span, message: impl Into<String>) -> Box<Diagnostic> {
        Box::new(Diagnostic::error(code, self.source, span, message))
    }

    /// Whether `--no-cache-filter` names the stage.
    fn filtered(&self, index: usize, stage: &Stage<'_>) -> bool {
        let named = |filter: &String| match &stage.name {
            Some(name) => name.eq_ignore_ascii_case(filter),
            None => filter.parse() == Ok(index),
        };
        self.settings.no_cache_stages.iter().any(named)
    }

    /// What a variable means, remembered as something that the instruction in work depends on.
    fn variable(&self, state: &StageState, name: &str) -> Option<String> {
        let value = state.variable(name)?;
        let kind = match state.env(name) {
            Some(_) => PartKind::Env,
            None => PartKind::Arg,
        };
        let variable = (kind, name.to_owned(), value.clone());
        let mut variables = self.variables.borrow_mut();
        if !variables.contains(&variable) {
            variables.push(variable);
        }
        Some(value)
    }

    /// Remembers the global ARGs that a FROM depends on.
    fn note_globals(&self, from: Span) {
        self.variables.take();
        // It was expanded before: what it comes to is known.
        let _ = expand(self.source.slice(from), self.directives.escape, &|name| {
            let value = self.plan.globals.get(name).cloned().flatten()?;
            let variable = (PartKind::Arg, name.to_owned(), value.clone());
            self.variables.borrow_mut().push(variable);
            Some(value)
        });
    }

    fn expand(&self, state: &StageState, word: &Word) -> Lower<String> {
        let expanded = expand(&word.value, self.directives.escape, &|name| {
            self.variable(state, name)
        })
        .map_err(|error| self.error("expansion", word.span, error.to_string()))?;
        for name in &expanded.undefined {
            self.warn_undefined(state, word, name);
        }
        Ok(expanded.text)
    }

    /// BuildKit's check UndefinedVar.
    fn warn_undefined(&self, state: &StageState, word: &Word, name: &str) {
        let message = format!("variable `{name}` is not set here: it expands to nothing");
        let mut warning = Diagnostic::warning("undefined-variable", self.source, word.span, message);
        if let Some(near) = nearest(name, state.variable_names()) {
            warning = warning.with_help(format!("did you mean `{near}`?"));
        } else if self.plan.globals.contains_key(name) {
            warning = warning.with_help(format!(
                "an ARG from before the first FROM needs `ARG {name}` in the stage too"
            ));
        }
        self.warnings.borrow_mut().push(warning);
    }

    fn instruction(
        &mut self,
        state: &mut StageState,
        instruction: &Instruction,
        from: &[&Origin],
        states: &HashMap<usize, StageState>,
        steps: &mut Steps,
    ) -> Lower<()> {
        self.variables.take();
        let first = from.first().copied();
        match &instruction.kind {
            InstructionKind::Run(run) => self.run(state, instruction, run, from, states, steps)?,
            InstructionKind::Copy(copy) => {
                self.copy(state, instruction, copy, false, first, states, steps)?
            }
            InstructionKind::Add(copy) => self.copy(state, instruction, copy, true, first, states, steps)?,
            InstructionKind::Workdir(word) => self.workdir(state, instruction, word, steps)?,
            _ => self.configure(state, instruction)?,
        }
        Ok(())
    }

    /// An instruction that only edits the configuration.
    fn configure(&self, state: &mut StageState, instruction: &Instruction) -> Lower<()> {
        match &instruction.kind {
            InstructionKind::Env(pairs) => self.env(state, pairs)?,
            InstructionKind::Label(pairs) => self.label(state, pairs)?,
            InstructionKind::Arg(declarations) => self.arg(state, declarations)?,
            InstructionKind::Expose(words) => self.expose(state, words)?,
            InstructionKind::Volume(words) => self.volume(state, words)?,
            InstructionKind::User(word) => self.user(state, word)?,
            InstructionKind::Cmd(command) => state.set_cmd(command),
            InstructionKind::Entrypoint(command) => state.set_entrypoint(command),
            InstructionKind::Healthcheck(check) => state.set_healthcheck(check),
            InstructionKind::Shell(words) => state.set_shell(words),
            InstructionKind::Stopsignal(word) => self.stop_signal(state, word)?,
            InstructionKind::Onbuild(trigger) => state.add_trigger(trigger),
            InstructionKind::Maintainer(word) => state.set_author(&word.value),
            InstructionKind::Run(_)
            | InstructionKind::Copy(_)
            | InstructionKind::Add(_)
            | InstructionKind::Workdir(_) => {
                unreachable!("makes a layer")
            }
            InstructionKind::From(_) => unreachable!("a FROM begins a stage"),
        }
        Ok(())
    }
}

/// Looks for the arguments by which stages ask for a bill of materials. Before the first FROM they are about all.
fn extras(plan: &Plan<'_>, states: &HashMap<usize, StageState>) -> Extras {
    let mut extras = Extras::default();
    for (index, stage) in plan.stages.iter().enumerate() {
        let (Some(stage), Some(state)) = (stage, states.get(&index)) else {
            continue;
        };
        let name = stage.name.clone().unwrap_or_else(|| index.to_string());
        let wanted = |argument: &str| {
            let global = || plan.globals.get(argument).cloned().flatten();
            let value = state.variable(argument).or_else(global);
            value.is_some_and(|value| crate::attest::scans(&value, &name))
        };
        extras.context |= wanted("BUILDKIT_SBOM_SCAN_CONTEXT");
        if index != plan.target
            && let Some(vertex) = state.vertex
            && wanted("BUILDKIT_SBOM_SCAN_STAGE")
        {
            extras.stages.push((name, vertex));
        }
    }
    extras
}

/// Joins a path of an instruction onto the working directory, cleaned as Go's path.Clean does; a trailing slash is lost.
pub(crate) fn join(directory: &str, path: &str) -> String {
    let base = if Path::new(path).is_absolute() {
        ""
    } else {
        directory
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in base.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::join;

    #[test]
    fn paths_are_joined_and_cleaned() {
        for (directory, path, joined) in [
            ("/app", "src", "/app/src"),
            ("/app", "./src/", "/app/src"),
            ("/app", "/x/../y", "/y"),
            ("/app", "../../..", "/"),
            ("", "x", "/x"),
            ("/app", ".", "/app"),
        ] {
            assert_eq!(join(directory, path), joined);
        }
    }
}
