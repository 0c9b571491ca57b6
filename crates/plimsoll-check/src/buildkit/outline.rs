//! What a build takes, and what it can be asked to build: `--call outline` and `--call targets`.

use std::collections::BTreeSet;

use plimsoll_diagnostics::Span;
use plimsoll_dockerfile::InstructionKind;
use serde_json::{Map, Value, json};

use super::location;
use crate::view::{Base, DockerfileView, Stage, Step, Variable};

/// What a target takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// The stage, in lower case.
    pub name: String,
    /// What the comment above it says.
    pub description: String,
    /// Build arguments.
    pub args: Vec<Parameter>,
    /// Secrets.
    pub secrets: Vec<Parameter>,
    /// SSH agents and keys.
    pub ssh: Vec<Parameter>,
    /// Cache mounts.
    pub caches: Vec<Parameter>,
}

/// Something that a build takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameter {
    /// Its name or id.
    pub name: String,
    /// What the comment above it says.
    pub description: String,
    /// What it is worth when nothing is given.
    pub value: Option<String>,
    /// Whether a build without it fails.
    pub required: bool,
    lines: (usize, usize),
}

/// The stages that can be built.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    /// In the order of the file.
    pub targets: Vec<Target>,
}

/// A stage that can be built.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// In lower case; empty for a last stage without one.
    pub name: String,
    /// What the comment above it says.
    pub description: String,
    /// Whether it is built when none is named.
    pub default: bool,
    base: String,
    platform: Option<String>,
    lines: (usize, usize),
}

/// What the stage that is built takes.
pub fn outline(view: &DockerfileView) -> Option<Outline> {
    let target = view.shipped().next()?;
    let needed = needed(view, target);
    let mut outline = Outline {
        name: name(target),
        description: description(view, view.step(target.from), &name(target)),
        ..Outline::default()
    };
    let bases: String = needed
        .iter()
        .map(|stage| view.from(&view.stages[*stage]).image.value.as_str())
        .collect();
    let globals = view.steps().take_while(|step| step.stage.is_none());
    for step in globals {
        outline.add_args(view, step, &|name| {
            bases.contains(&format!("${name}")) || bases.contains(&format!("${{{name}"))
        });
    }
    for stage in &needed {
        for step in view.steps_of(&view.stages[*stage]) {
            outline.add_args(view, step, &|_| true);
            outline.add_mounts(view, step);
        }
    }
    Some(outline)
}

impl Outline {
    fn add_args(&mut self, view: &DockerfileView, step: Step<'_>, wanted: &dyn Fn(&str) -> bool) {
        let InstructionKind::Arg(declarations) = step.kind() else {
            return;
        };
        for declaration in declarations.iter().filter(|one| wanted(&one.name.value)) {
            let name = &declaration.name.value;
            let given = view.settings.args.get(name).cloned();
            let default = || {
                declaration
                    .default
                    .as_ref()
                    .and_then(|default| view.expand(step.at, default))
            };
            let global =
                || match view.variable(step.stage.filter(|_| declaration.default.is_none())?.from, name) {
                    Variable::Known(value) => Some(value),
                    _ => None,
                };
            let value = given.or_else(default).or_else(global);
            let parameter = Parameter {
                name: name.clone(),
                description: description(view, step, name),
                value,
                required: false,
                lines: lines(view, step.span()),
            };
            if !self.args.iter().any(|known| known.name == parameter.name) {
                self.args.push(parameter);
            }
        }
    }

    fn add_mounts(&mut self, view: &DockerfileView, step: Step<'_>) {
        let InstructionKind::Run(run) = step.kind() else {
            return;
        };
        for mount in &run.mounts {
            let fields = || {
                mount
                    .value
                    .split(',')
                    .map(|field| field.split_once('=').unwrap_or((field, "true")))
            };
            let field = |names: &[&str]| {
                fields()
                    .find(|(key, _)| names.contains(key))
                    .map(|(_, value)| value)
            };
            let target = field(&["target", "dst", "destination"]);
            let (list, default) = match field(&["type"]) {
                Some("secret") => (
                    &mut self.secrets,
                    target.and_then(|target| target.rsplit('/').next()),
                ),
                Some("ssh") => (&mut self.ssh, Some("default")),
                Some("cache") => (&mut self.caches, target),
                _ => continue,
            };
            let Some(name) = field(&["id"]).or(default) else {
                continue;
            };
            let required = field(&["required"]) == Some("true");
            match list.iter_mut().find(|known| known.name == name) {
                Some(known) => known.required |= required,
                None => list.push(Parameter {
                    name: name.to_owned(),
                    required,
                    lines: lines(view, step.span()),
                    ..Parameter::default()
                }),
            }
        }
    }

    /// As BuildKit's subrequest answers, without the text of the file.
    pub fn to_json(&self) -> Map<String, Value> {
        let list = |all: &[Parameter], key: &str| -> Option<(String, Value)> {
            let all: Vec<Value> = all
                .iter()
                .map(|one| one.to_json(if key == "cache" { "ID" } else { "name" }))
                .collect();
            (!all.is_empty()).then(|| (key.to_owned(), all.into()))
        };
        let texts = [("name", &self.name), ("description", &self.description)];
        let texts = texts.into_iter().filter(|(_, text)| !text.is_empty());
        let texts = texts.map(|(key, text)| (key.to_owned(), Value::from(text.as_str())));
        let lists = [
            list(&self.args, "args"),
            list(&self.secrets, "secrets"),
            list(&self.ssh, "ssh"),
            list(&self.caches, "cache"),
        ];
        texts.chain(lists.into_iter().flatten()).collect()
    }
}

impl Parameter {
    fn to_json(&self, name: &str) -> Value {
        let mut all = Map::new();
        all.insert(name.to_owned(), self.name.as_str().into());
        if !self.description.is_empty() {
            all.insert("description".to_owned(), self.description.as_str().into());
        }
        if let Some(value) = &self.value {
            all.insert("value".to_owned(), value.as_str().into());
        }
        if self.required {
            all.insert("required".to_owned(), true.into());
        }
        all.insert("location".to_owned(), location(self.lines.0, self.lines.1));
        all.into()
    }
}

/// The stages that can be named, and the last one.
pub fn targets(view: &DockerfileView) -> Targets {
    let last = view.stages.len();
    let targets = view
        .stages
        .iter()
        .filter(|stage| stage.name.is_some() || stage.index + 1 == last);
    let target = |stage: &Stage| Target {
        name: name(stage),
        description: description(view, view.step(stage.from), &name(stage)),
        default: stage.index + 1 == last,
        base: view.from(stage).image.value.clone(),
        platform: view
            .from(stage)
            .platform
            .as_ref()
            .map(|platform| platform.value.clone()),
        lines: lines(view, view.step(stage.from).span()),
    };
    Targets {
        targets: targets.map(target).collect(),
    }
}

impl Targets {
    /// As BuildKit's subrequest answers, without the text of the file.
    pub fn to_json(&self) -> Map<String, Value> {
        let target = |target: &Target| {
            let mut all = Map::new();
            for (key, text) in [("name", &target.name), ("description", &target.description)] {
                if !text.is_empty() {
                    all.insert(key.to_owned(), text.as_str().into());
                }
            }
            if target.default {
                all.insert("default".to_owned(), true.into());
            }
            all.insert("base".to_owned(), target.base.as_str().into());
            if let Some(platform) = &target.platform {
                all.insert("platform".to_owned(), platform.as_str().into());
            }
            all.insert("location".to_owned(), location(target.lines.0, target.lines.1));
            Value::Object(all)
        };
        let targets: Vec<Value> = self.targets.iter().map(target).collect();
        Map::from_iter([("targets".to_owned(), json!(targets))])
    }
}

fn name(stage: &Stage) -> String {
    stage
        .name
        .as_ref()
        .map(|name| name.value.to_lowercase())
        .unwrap_or_default()
}

fn lines(view: &DockerfileView, span: Span) -> (usize, usize) {
    let line = |offset: usize| view.source.position(offset).line;
    (line(span.start), line(span.end.saturating_sub(1).max(span.start)))
}

/// The numbers of the stages that a stage is made of, in the order of the file.
fn needed(view: &DockerfileView, target: &Stage) -> BTreeSet<usize> {
    let mut needed = BTreeSet::new();
    let mut open = vec![target.index];
    while let Some(index) = open.pop() {
        if !needed.insert(index) {
            continue;
        }
        let stage = &view.stages[index];
        if let Base::Stage(base) = stage.base {
            open.push(base);
        }
        for step in view.steps_of(stage) {
            let named = |name: &str| view.stage_named(name, index).map(|stage| stage.index);
            match step.kind() {
                InstructionKind::Copy(copy) => {
                    open.extend(copy.from.iter().filter_map(|from| named(&from.value)))
                }
                InstructionKind::Run(run) => {
                    let fields = run.mounts.iter().flat_map(|mount| mount.value.split(','));
                    open.extend(
                        fields
                            .filter_map(|field| field.strip_prefix("from="))
                            .filter_map(named),
                    );
                }
                _ => {}
            }
        }
    }
    needed
}

/// What the comment directly above says, when it begins with the name.
fn description(view: &DockerfileView, step: Step<'_>, name: &str) -> String {
    let mut start = view.source.line_at(step.span().start).start;
    let mut lines: Vec<&str> = Vec::new();
    while let Some(end) = start.checked_sub(1) {
        let line = view.source.line_at(end);
        let Some(text) = view.source.slice(line).trim_start().strip_prefix('#') else {
            break;
        };
        lines.push(text.trim());
        start = line.start;
    }
    lines.reverse();
    let text = lines.join(" ");
    let (first, rest) = text.split_once(' ').unwrap_or((text.as_str(), ""));
    match !name.is_empty() && first.eq_ignore_ascii_case(name) {
        true => rest.trim().to_owned(),
        false => String::new(),
    }
}
