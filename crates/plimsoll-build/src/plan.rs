//! From instructions to stages: what the target needs, and what each stage stands on. Pure text.

use std::collections::BTreeMap;

use plimsoll_diagnostics::{Diagnostic, Source, Span};
use plimsoll_dockerfile::{
    ArgDeclaration, Dockerfile, From, Instruction, InstructionKind, Word, expand, nearest,
};
use plimsoll_oci::{ImageRef, Platform};

use crate::source::Contexts;

/// What a stage or a `COPY --from` takes its files from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nothing.
    Scratch,
    /// An image, for a platform.
    Image(ImageRef, Platform),
    /// An earlier stage.
    Stage(usize),
    /// A named context that is no image, by its number.
    Context(usize),
}

/// An instruction, and the text it stands in: the Dockerfile, or a trigger that ONBUILD left in the base image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step<'a> {
    pub(crate) source: &'a Source,
    pub(crate) instruction: &'a Instruction,
}

/// Triggers of base images by stage, each parsed as a text of its own.
pub(crate) type Triggers = BTreeMap<usize, Vec<Dockerfile>>;

/// One `FROM` and what follows it.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    pub(crate) name: Option<String>,
    pub(crate) span: Span,
    pub(crate) base: (Origin, Span),
    /// Platform of the result; its files may be of another one.
    pub(crate) platform: Platform,
    /// Triggers of the base first, then the stage's own.
    pub(crate) steps: Vec<Step<'a>>,
    /// `COPY --from` of these instructions, in order of appearance.
    pub(crate) sources: Vec<(Origin, Span)>,
}

/// The stages a build needs.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    /// All stages, those that are not needed too.
    pub(crate) stages: Vec<Option<Stage<'a>>>,
    /// The stage to build.
    pub(crate) target: usize,
    /// `ARG`s before the first `FROM`, by name; `None` without a value.
    pub(crate) globals: BTreeMap<String, Option<String>>,
}

impl Plan<'_> {
    /// What the needed stages stand on and copy from.
    pub(crate) fn origins(&self) -> impl Iterator<Item = &(Origin, Span)> {
        let stages = self.stages.iter().flatten();
        stages.flat_map(|stage| stage.sources.iter().chain([&stage.base]))
    }

    /// A name without registry or tag that is no image may have been meant as a stage.
    pub(crate) fn with_stage_hint(&self, diagnostic: Diagnostic, reference: &ImageRef) -> Diagnostic {
        let name = reference.familiar_name();
        let written = diagnostic
            .span()
            .map(|span| diagnostic.source.slice(span).to_owned());
        match written {
            Some(written) if written == name && !name.contains('/') => diagnostic.with_help(format!(
                "no earlier stage is called `{name}`, so it was looked up as an image"
            )),
            _ => diagnostic,
        }
    }
}

/// What the command line says that decides the plan.
pub(crate) struct PlanSettings<'a> {
    pub(crate) target: Option<&'a str>,
    pub(crate) build_args: &'a BTreeMap<String, String>,
    pub(crate) platform: &'a Platform,
    pub(crate) contexts: &'a Contexts,
}

/// Values that every stage can import by a bare `ARG NAME`.
pub(crate) fn platform_args(target: &Platform, stage: &str) -> BTreeMap<String, String> {
    let build = Platform::host();
    let mut values = BTreeMap::new();
    for (prefix, platform) in [("BUILD", &build), ("TARGET", target)] {
        values.insert(format!("{prefix}PLATFORM"), platform.to_string());
        values.insert(format!("{prefix}OS"), platform.os.clone());
        values.insert(format!("{prefix}ARCH"), platform.architecture.clone());
        values.insert(
            format!("{prefix}VARIANT"),
            platform.variant.clone().unwrap_or_default(),
        );
    }
    values.insert("TARGETSTAGE".to_owned(), stage.to_owned());
    values
}

/// Set from the caller's environment by `--build-arg`, seen by RUN without `ARG`, in no key and no history.
pub(crate) const PROXY_ARGS: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// Tells whether a build argument means something without an ARG.
pub(crate) fn is_predefined(name: &str) -> bool {
    PROXY_ARGS.contains(&name)
        || name.starts_with("BUILDKIT_")
        || name == "SOURCE_DATE_EPOCH"
        || platform_args(&Platform::host(), "").contains_key(name)
}

/// A `FROM` with the instructions below it, before anything is looked up.
struct Block<'a> {
    from: &'a From,
    span: Span,
    instructions: &'a [Instruction],
}

/// Works out what the target needs. The triggers of base images are known only when these are at hand: plan without
/// them first, and again when there are any, since they may name further stages and images.
pub(crate) fn plan<'a>(
    dockerfile: &'a Dockerfile,
    triggers: &'a Triggers,
    settings: &PlanSettings<'_>,
) -> Result<Plan<'a>, Vec<Diagnostic>> {
    let planner = Planner {
        dockerfile,
        triggers,
        settings,
        blocks: blocks(&dockerfile.instructions),
    };
    planner.plan().map_err(|diagnostic| vec![*diagnostic])
}

fn blocks(instructions: &[Instruction]) -> Vec<Block<'_>> {
    let starts: Vec<usize> = (0..instructions.len())
        .filter(|&at| matches!(instructions[at].kind, InstructionKind::From(_)))
        .collect();
    let ends = starts.iter().skip(1).copied().chain([instructions.len()]);
    let block = |(&start, end): (&usize, usize)| match &instructions[start].kind {
        InstructionKind::From(from) => Block {
            from,
            span: instructions[start].span,
            instructions: &instructions[start + 1..end],
        },
        _ => unreachable!("a block starts at a FROM"),
    };
    starts.iter().zip(ends).map(block).collect()
}

struct Planner<'a, 's> {
    dockerfile: &'a Dockerfile,
    triggers: &'a Triggers,
    settings: &'s PlanSettings<'s>,
    blocks: Vec<Block<'a>>,
}

type Planned<T> = Result<T, Box<Diagnostic>>;

impl<'a> Planner<'a, '_> {
    fn plan(&self) -> Planned<Plan<'a>> {
        if self.blocks.is_empty() {
            return Err(self.error(
                "no-stage",
                Span::default(),
                "this Dockerfile has no FROM: there is nothing to build",
            ));
        }
        let globals = self.globals()?;
        let target = self.target()?;
        let mut stages: Vec<Option<Stage<'a>>> = (0..self.blocks.len()).map(|_| None).collect();
        let mut open = vec![target];
        while let Some(index) = open.pop() {
            if stages[index].is_some() {
                continue;
            }
            let stage = self.stage(index, &globals)?;
            let needs = stage.sources.iter().chain([&stage.base]);
            open.extend(needs.filter_map(|(origin, _)| match origin {
                Origin::Stage(needed) => Some(*needed),
                _ => None,
            }));
            stages[index] = Some(stage);
        }
        Ok(Plan {
            stages,
            target,
            globals,
        })
    }

    fn error(&self, code: &'static str, span: Span, message: impl Into<String>) -> Box<Diagnostic> {
        Box::new(Diagnostic::error(code, &self.dockerfile.source, span, message))
    }

    /// `ARG`s before the first `FROM`; later ones may use earlier ones.
    fn globals(&self) -> Planned<BTreeMap<String, Option<String>>> {
        let mut globals = BTreeMap::new();
        let stage = self.settings.target.unwrap_or("default");
        let platform = platform_args(self.settings.platform, stage);
        for instruction in &self.dockerfile.instructions {
            let declarations = match &instruction.kind {
                InstructionKind::Arg(declarations) => declarations,
                InstructionKind::From(_) => break,
                _ => continue,
            };
            for ArgDeclaration { name, default } in declarations {
                let given = self.settings.build_args.get(&name.value).cloned();
                let value = match (given, default) {
                    (Some(given), _) => Some(given),
                    (None, Some(default)) => Some(self.expand(default, &globals, &platform)?),
                    (None, None) => None,
                };
                globals.insert(name.value.clone(), value);
            }
        }
        for (name, value) in platform {
            globals.entry(name).or_insert(Some(value));
        }
        Ok(globals)
    }

    fn expand(
        &self,
        word: &Word,
        globals: &BTreeMap<String, Option<String>>,
        platform: &BTreeMap<String, String>,
    ) -> Planned<String> {
        let lookup = |name: &str| {
            globals
                .get(name)
                .cloned()
                .flatten()
                .or_else(|| platform.get(name).cloned())
        };
        expand_word(
            &self.dockerfile.source,
            word,
            self.dockerfile.directives.escape,
            &lookup,
        )
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.blocks
            .iter()
            .filter_map(|block| block.from.name.as_ref())
            .map(|name| name.value.as_str())
    }

    /// `--target` by name, any case, or by number.
    fn target(&self) -> Planned<usize> {
        let Some(target) = self.settings.target else {
            return Ok(self.blocks.len() - 1);
        };
        if let Some(index) = self.stage_named(target, self.blocks.len()) {
            return Ok(index);
        }
        let names: Vec<&str> = self.names().collect();
        let error = self.error(
            "unknown-target",
            self.blocks[0].span,
            format!("target stage `{target}` could not be found"),
        );
        Err(Box::new(error.with_help(
            match nearest(target, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if names.is_empty() => format!(
                    "no stage has a name; they are numbered 0 to {}",
                    self.blocks.len() - 1
                ),
                None => format!(
                    "the stages are {}",
                    names
                        .iter()
                        .map(|name| format!("`{name}`"))
                        .collect::<Vec<_>>()
                        .join(", ")
                ),
            },
        )))
    }

    /// The last stage before `below` of that name, or the stage of that number.
    fn stage_named(&self, name: &str, below: usize) -> Option<usize> {
        let named = |block: &Block<'_>| {
            block
                .from
                .name
                .as_ref()
                .is_some_and(|word| word.value.eq_ignore_ascii_case(name))
        };
        self.blocks[..below]
            .iter()
            .rposition(named)
            .or_else(|| name.parse().ok().filter(|&index| index < below))
    }

    fn stage(&self, index: usize, globals: &BTreeMap<String, Option<String>>) -> Planned<Stage<'a>> {
        let block = &self.blocks[index];
        let none = BTreeMap::new();
        let platform = match &block.from.platform {
            Some(word) => {
                let text = self.expand(word, globals, &none)?;
                text.parse()
                    .map_err(|error| self.error("invalid-platform", word.span, format!("{error}")))?
            }
            None => self.settings.platform.clone(),
        };
        if let Some(origin) = self.replacement(block, &platform) {
            return Ok(Stage {
                name: block.from.name.as_ref().map(|name| name.value.clone()),
                span: block.span,
                base: (origin, block.span),
                platform: self.settings.platform.clone(),
                steps: Vec::new(),
                sources: Vec::new(),
            });
        }
        let image = self.expand(&block.from.image, globals, &none)?;
        if image.is_empty() {
            let error = self.error(
                "blank-base",
                block.from.image.span,
                format!("base name `{}` is blank", block.from.image.value),
            );
            return Err(Box::new(error.with_help(
                "give its ARG a default before the first FROM, or pass --build-arg",
            )));
        }
        // FROM takes stages by name only; a number there would be an image called so.
        let named = image
            .parse::<usize>()
            .is_err()
            .then(|| self.stage_named(&image, index))
            .flatten();
        let base = match (image.as_str(), named) {
            (_, Some(stage)) => Origin::Stage(stage),
            ("scratch", None) => Origin::Scratch,
            _ => match self.settings.contexts.origin(&image, &platform) {
                Some(context) => context,
                None => self.image(&image, block.from.image.span, &platform)?,
            },
        };
        let steps = self.steps(index, &base);
        let copies = steps.iter().flat_map(|step| {
            sources(step.instruction)
                .into_iter()
                .map(|word| (step.source, word))
        });
        let sources = copies
            .map(|(source, word)| Ok((self.copy_origin(source, &word, index)?, word.span)))
            .collect::<Planned<_>>()?;
        Ok(Stage {
            name: block.from.name.as_ref().map(|name| name.value.clone()),
            span: block.span,
            base: (base, block.from.image.span),
            platform: self.settings.platform.clone(),
            steps,
            sources,
        })
    }

    /// The named context that takes the place of a stage, with all its instructions.
    fn replacement(&self, block: &Block<'_>, platform: &Platform) -> Option<Origin> {
        let name = block.from.name.as_ref()?;
        self.settings.contexts.origin(&name.value, platform)
    }

    /// What the base left to its children, then the stage's own instructions.
    fn steps(&self, index: usize, base: &Origin) -> Vec<Step<'a>> {
        let own_source = &self.dockerfile.source;
        let mut steps = Vec::new();
        if let Origin::Stage(base) = base
            && self
                .replacement(&self.blocks[*base], self.settings.platform)
                .is_none()
        {
            let triggers =
                self.blocks[*base]
                    .instructions
                    .iter()
                    .filter_map(|instruction| match &instruction.kind {
                        InstructionKind::Onbuild(trigger) => Some(&**trigger),
                        _ => None,
                    });
            steps.extend(triggers.map(|instruction| Step {
                source: own_source,
                instruction,
            }));
        }
        for trigger in self.triggers.get(&index).into_iter().flatten() {
            let parsed = trigger.instructions.iter();
            steps.extend(parsed.map(|instruction| Step {
                source: &trigger.source,
                instruction,
            }));
        }
        let own = self.blocks[index].instructions.iter();
        steps.extend(own.map(|instruction| Step {
            source: own_source,
            instruction,
        }));
        steps
    }

    fn copy_origin(&self, source: &Source, word: &Word, index: usize) -> Planned<Origin> {
        self.origin(word, index).map_err(|mut diagnostic| {
            diagnostic.source = source.clone();
            diagnostic
        })
    }

    fn origin(&self, word: &Word, index: usize) -> Planned<Origin> {
        let name = word.value.as_str();
        if name.contains('$') {
            let error = self.error("variable-in-from", word.span, "`from` takes no variables");
            return Err(Box::new(error.with_help(
                "name a stage for it: `FROM $IMAGE AS source`, then `COPY --from=source`",
            )));
        }
        if let Some(stage) = self.stage_named(name, index) {
            return Ok(Origin::Stage(stage));
        }
        if let Some(later) = self.stage_named(name, self.blocks.len()) {
            let what = if later == index {
                "is this stage itself"
            } else {
                "comes later"
            };
            return Err(self.error(
                "later-stage",
                word.span,
                format!("stage `{name}` {what}: only earlier stages can be copied from"),
            ));
        }
        if name.parse::<usize>().is_ok() {
            return Err(self.error("unknown-stage", word.span, format!("there is no stage {name}")));
        }
        if name == "scratch" {
            return Err(self.error("copy-from-scratch", word.span, "`scratch` has no files to copy"));
        }
        if let Some(context) = self.settings.contexts.origin(name, self.settings.platform) {
            return Ok(context);
        }
        let names = self.names().chain(self.settings.contexts.names());
        if let Some(near) = nearest(name, names).filter(|near| !near.eq_ignore_ascii_case(name))
            && !name.contains(['/', ':', '.'])
        {
            let error = self.error(
                "unknown-stage",
                word.span,
                format!("stage `{name}` is not in this Dockerfile"),
            );
            return Err(Box::new(error.with_help(format!("did you mean `{near}`?"))));
        }
        self.image(name, word.span, self.settings.platform)
    }

    fn image(&self, name: &str, span: Span, platform: &Platform) -> Planned<Origin> {
        let reference = name
            .parse::<ImageRef>()
            .map_err(|error| self.error("invalid-image", span, error.to_string()))?;
        Ok(Origin::Image(reference, platform.clone()))
    }
}

/// What an instruction takes files from besides the context: `--from` of COPY and ADD, `from=` of each mount of RUN.
pub(crate) fn sources(instruction: &Instruction) -> Vec<Word> {
    match &instruction.kind {
        InstructionKind::Copy(copy) | InstructionKind::Add(copy) => copy.from.iter().cloned().collect(),
        InstructionKind::Run(run) => crate::mount::from_words(run).collect(),
        _ => Vec::new(),
    }
}

/// Expands one word; a failure points at it.
pub(crate) fn expand_word(
    source: &Source,
    word: &Word,
    escape: char,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Planned<String> {
    match expand(&word.value, escape, lookup) {
        Ok(expanded) => Ok(expanded.text),
        Err(error) => Err(Box::new(Diagnostic::error(
            "expansion",
            source,
            word.span,
            error.to_string(),
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The plan in short, or the diagnostic as the user reads it.
    fn planned(text: &str, target: Option<&str>, args: &[(&str, &str)]) -> String {
        let source = Source::new("Dockerfile", text);
        let parsed = Dockerfile::parse(&source);
        assert!(!parsed.has_errors(), "{:?}", parsed.diagnostics);
        let build_args = args
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let platform = "linux/amd64".parse().unwrap();
        let settings = PlanSettings {
            target,
            build_args: &build_args,
            platform: &platform,
            contexts: &Contexts::default(),
        };
        let line = |(index, stage): (usize, &Option<Stage<'_>>)| {
            let stage = stage.as_ref()?;
            let sources: Vec<_> = stage.sources.iter().map(|(origin, _)| shown(origin)).collect();
            Some(format!(
                "{index} {} on {} from {sources:?}\n",
                stage.name.as_deref().unwrap_or("-"),
                shown(&stage.base.0)
            ))
        };
        match plan(&parsed.dockerfile, &Triggers::new(), &settings) {
            Ok(plan) => {
                plan.stages
                    .iter()
                    .enumerate()
                    .filter_map(line)
                    .collect::<String>()
                    + &format!("target {}", plan.target)
            }
            Err(diagnostics) => plimsoll_diagnostics::render(&diagnostics[0], false),
        }
    }

    fn shown(origin: &Origin) -> String {
        match origin {
            Origin::Scratch => "scratch".to_owned(),
            Origin::Image(reference, _) => reference.familiar(),
            Origin::Stage(stage) => format!("stage {stage}"),
            Origin::Context(at) => format!("context {at}"),
        }
    }

    const STAGES: &str = "FROM node:20 AS deps\nRUN npm ci\nFROM deps AS Build\nFROM broken:1 AS unused\nFROM scratch\nCOPY --from=build /a /\nCOPY --from=0 /b /\nCOPY --from=busybox:1 /c /\n";

    #[test]
    fn stages_that_are_not_reached_drop_out() {
        insta::assert_snapshot!(planned(STAGES, None, &[]), @r#"
        0 deps on node:20 from []
        1 Build on stage 0 from []
        3 - on scratch from ["stage 1", "stage 0", "busybox:1"]
        target 3
        "#);
        insta::assert_snapshot!(planned(STAGES, Some("DEPS"), &[]), @r"
        0 deps on node:20 from []
        target 0
        ");
        insta::assert_snapshot!(planned(STAGES, Some("2"), &[]), @r"
        2 unused on broken:1 from []
        target 2
        ");
    }

    #[test]
    fn from_sees_global_args_only() {
        let text = "ARG V=18\nARG IMAGE=node:$V\nFROM ${IMAGE}-alpine\n";
        insta::assert_snapshot!(planned(text, None, &[]), @r"
        0 - on node:18-alpine from []
        target 0
        ");
        insta::assert_snapshot!(planned(text, None, &[("V", "20")]), @r"
        0 - on node:20-alpine from []
        target 0
        ");
    }

    #[test]
    fn mistakes_are_shown_where_they_are() {
        insta::assert_snapshot!(planned(STAGES, Some("biuld"), &[]), @r"
        error: target stage `biuld` could not be found
         --> Dockerfile:1:1
          |
        1 | FROM node:20 AS deps
          | ^^^^^^^^^^^^^^^^^^^^
        2 | RUN npm ci
          |
        hint: did you mean `Build`?
        ");
        insta::assert_snapshot!(planned("FROM a AS builder\nFROM scratch\nCOPY --from=bulider /x /\n", None, &[]), @r"
        error: stage `bulider` is not in this Dockerfile
         --> Dockerfile:3:13
          |
        2 | FROM scratch
        3 | COPY --from=bulider /x /
          |             ^^^^^^^
        hint: did you mean `builder`?
        ");
        insta::assert_snapshot!(planned("FROM scratch\nCOPY --from=later /x /\nFROM a AS later\n", Some("0"), &[]), @r"
        error: stage `later` comes later: only earlier stages can be copied from
         --> Dockerfile:2:13
          |
        1 | FROM scratch
        2 | COPY --from=later /x /
          |             ^^^^^
        3 | FROM a AS later
          |
        ");
        insta::assert_snapshot!(planned("FROM ${NOTHING}\n", None, &[]), @r"
        error: base name `${NOTHING}` is blank
         --> Dockerfile:1:6
          |
        1 | FROM ${NOTHING}
          |      ^^^^^^^^^^
        hint: give its ARG a default before the first FROM, or pass --build-arg
        ");
        insta::assert_snapshot!(planned("FROM Node:20\n", None, &[]), @r"
        error: `Node:20` is not an image reference: a repository name must be lower case
         --> Dockerfile:1:6
          |
        1 | FROM Node:20
          |      ^^^^^^^
        ");
    }
}
