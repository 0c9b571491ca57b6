//! What the page says, as plain data for its template.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use plimsoll_build::record::{BuildRecord, BuildStatus, StepKind, StepOutcome, StepRecord, TaskRecord};
use plimsoll_image::{ImageUsage, Step};
use serde::Serialize;

use super::size::{ImageView, Stage, image_view, percent, stages};
use super::timeline::{self, Bar, Tick, Timeline, duration};
use crate::output::units::human_size;

/// Seconds that are worth nobody's while.
const BLINK: f64 = 0.001;

/// Everything known about a build.
pub(super) struct Facts<'a> {
    pub(super) record: &'a BuildRecord,
    /// Why steps ran, by their place among the steps.
    pub(super) reasons: BTreeMap<usize, Vec<String>>,
    /// The last lines that tasks printed, by their place among the tasks, and how many lines came before those.
    pub(super) output: BTreeMap<usize, (Vec<String>, usize)>,
    /// Bytes of the layers of steps, by their place.
    pub(super) sizes: BTreeMap<usize, u64>,
    pub(super) images: Vec<ImageFacts>,
    /// What the page must not tell.
    pub(super) credentials: Vec<String>,
}

/// One image that came of it.
pub(super) struct ImageFacts {
    pub(super) platform: String,
    pub(super) usage: ImageUsage,
    /// Those with a layer, base first.
    pub(super) steps: Vec<Step>,
    /// The step that made each layer, by its place; none for those of base images.
    pub(super) owners: Vec<Option<usize>>,
}

#[derive(Serialize)]
pub(super) struct Page {
    title: String,
    status: &'static str,
    version: &'static str,
    id: String,
    date: String,
    duration: String,
    figures: Vec<Figure>,
    facts: Vec<(String, Vec<String>)>,
    error: Option<Failure>,
    ticks: Vec<Tick>,
    rows: Vec<Row>,
    counts: Counts,
    critical: String,
    stages: Vec<Stage>,
    images: Vec<ImageView>,
    warnings: Vec<Warning>,
    dockerfile: Dockerfile,
}

/// A number that matters.
#[derive(Serialize)]
struct Figure {
    name: &'static str,
    value: String,
    note: String,
}

#[derive(Serialize, Default)]
struct Counts {
    all: usize,
    ran: usize,
    cached: usize,
    critical: usize,
}

/// Why the build failed.
#[derive(Serialize)]
struct Failure {
    message: String,
    place: Option<String>,
    step: Option<String>,
    output: Vec<String>,
}

/// A line of the timeline.
#[derive(Serialize)]
struct Row {
    /// `builder 2/5`, if the name begins so.
    prefix: Option<String>,
    name: String,
    /// `ran`, `cached`, `failed`, `canceled`, `waiting`.
    kind: &'static str,
    word: &'static str,
    is_critical: bool,
    bar: Option<Bar>,
    time: String,
    size: Option<String>,
    place: Option<String>,
    instruction: Option<String>,
    reasons: Vec<String>,
    output: Vec<String>,
    omitted: usize,
}

#[derive(Serialize)]
struct Warning {
    code: String,
    message: String,
    place: Option<String>,
    shown: String,
}

#[derive(Serialize)]
struct Dockerfile {
    name: String,
    lines: Vec<DockerfileLine>,
}

/// A line of the Dockerfile with what it cost, beside the first line of an instruction.
#[derive(Serialize)]
struct DockerfileLine {
    number: usize,
    text: String,
    kind: &'static str,
    time: String,
    size: String,
}

impl Page {
    pub(super) fn of(facts: &Facts<'_>) -> Self {
        let record = facts.record;
        let timeline = Timeline::of(record);
        let path = timeline::critical_path(&record.tasks);
        let rows = rows(facts, &timeline, &path);
        let counts = counts(&rows);
        let on_path: f64 = path
            .iter()
            .filter_map(|place| timeline::taken(&record.tasks[*place]))
            .sum();
        let images: Vec<ImageView> = facts
            .images
            .iter()
            .map(|image| image_view(facts, image))
            .collect();
        Self {
            title: record.name.clone(),
            status: record.status.as_str(),
            version: env!("CARGO_PKG_VERSION"),
            id: record.id.clone(),
            date: record
                .started
                .to_zoned(TimeZone::system())
                .strftime("%Y-%m-%d %H:%M:%S %:z")
                .to_string(),
            duration: duration(timeline.length),
            figures: figures(facts, &timeline, &counts, on_path),
            facts: given(record),
            error: failure(facts),
            ticks: timeline.ticks(),
            critical: duration(on_path),
            rows,
            counts,
            stages: stages(facts),
            images,
            warnings: record.warnings.iter().map(Warning::from).collect(),
            dockerfile: dockerfile(facts),
        }
    }
}

fn figures(facts: &Facts<'_>, timeline: &Timeline, counts: &Counts, on_path: f64) -> Vec<Figure> {
    let figure = |name, value, note: String| Figure { name, value, note };
    let path = format!("{} on the critical path", duration(on_path));
    let mut figures = vec![
        figure("Time", duration(timeline.length), path),
        figure(
            "Steps",
            counts.all.to_string(),
            format!("{} cached, {} ran", counts.cached, counts.ran),
        ),
    ];
    if let Some(image) = facts.images.first() {
        let layers = image.usage.layers.len();
        let more = match facts.images.len() {
            1 => String::new(),
            count => format!(", {count} platforms"),
        };
        figures.push(figure(
            "Image",
            human_size(image.usage.size()),
            format!("{layers} layers{more}"),
        ));
        let wasted = image.usage.wasted();
        let percent = percent(wasted, image.usage.size());
        let note = format!("{percent:.0}% of the image");
        figures.push(figure("Wasted", human_size(wasted), note));
    }
    let warnings = facts.record.warnings.len();
    figures.push(figure("Warnings", warnings.to_string(), String::new()));
    figures
}

/// What was asked for and what came of it, as names with their values.
fn given(record: &BuildRecord) -> Vec<(String, Vec<String>)> {
    let options = &record.options;
    let names: Vec<String> = record
        .exports
        .iter()
        .flat_map(|export| export.names.clone())
        .collect();
    let exports = record.exports.iter().map(|export| {
        let attributes = export
            .attributes
            .iter()
            .map(|(key, value)| format!(" {key}={value}"));
        let digest = export.digest.as_ref().map(|digest| format!(" {digest}"));
        format!(
            "{}{}{}",
            export.kind,
            attributes.collect::<String>(),
            digest.unwrap_or_default()
        )
    });
    let pairs = |pairs: &BTreeMap<String, String>| {
        pairs
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect()
    };
    let images = record.images.iter();
    let rows: Vec<(&str, Vec<String>)> = vec![
        ("Names", names),
        (
            "Manifest",
            images
                .clone()
                .map(|image| format!("{} {}", image.platform, image.manifest_digest))
                .collect(),
        ),
        (
            "Image ID",
            images
                .map(|image| format!("{} {}", image.platform, image.config_digest))
                .collect(),
        ),
        ("Exports", exports.collect()),
        ("Context", vec![record.context.root.clone()]),
        ("Dockerfile", vec![record.dockerfile.name.clone()]),
        ("Target", options.target.iter().cloned().collect()),
        ("Build arguments", pairs(&options.build_args)),
        ("Labels", pairs(&options.labels)),
        ("Contexts", options.contexts.clone()),
        ("Secrets", options.secrets.clone()),
        (
            "Without cache",
            if options.no_cache {
                vec!["all steps".to_owned()]
            } else {
                options.no_cache_stages.clone()
            },
        ),
        ("Build", vec![record.id.clone()]),
    ];
    let has_value = |row: &(String, Vec<String>)| row.1.iter().any(|value| !value.is_empty());
    rows.into_iter()
        .map(|(name, values)| (name.to_owned(), values))
        .filter(has_value)
        .collect()
}

fn failure(facts: &Facts<'_>) -> Option<Failure> {
    let record = facts.record;
    let error = record.error.as_ref()?;
    let task = record.tasks.iter().position(|task| task.error.is_some());
    let output = task.and_then(|task| facts.output.get(&task));
    Some(Failure {
        message: error.message.clone(),
        place: error
            .place
            .as_ref()
            .map(|place| format!("{}:{}", place.file, place.line)),
        step: task.map(|task| record.tasks[task].name.clone()),
        output: output.map(|(lines, _)| lines.clone()).unwrap_or_default(),
    })
}

fn rows(facts: &Facts<'_>, timeline: &Timeline, path: &[usize]) -> Vec<Row> {
    let mut places: Vec<usize> = (0..facts.record.tasks.len()).collect();
    let tasks = &facts.record.tasks;
    let is_needless = |place: &usize| step_of(facts.record, *place).is_some_and(is_needless);
    // What nobody asked for comes first and what never began last, both as they were announced.
    places.sort_by_key(|place| match (is_needless(place), tasks[*place].started) {
        (true, _) => (0, None),
        (false, Some(started)) => (1, Some(started)),
        (false, None) => (2, None),
    });
    places
        .into_iter()
        .map(|place| row(facts, timeline, path, place))
        .collect()
}

fn row(facts: &Facts<'_>, timeline: &Timeline, path: &[usize], place: usize) -> Row {
    let record = facts.record;
    let task = &record.tasks[place];
    let step = step_of(record, place);
    let (prefix, name) = split_name(&task.name);
    let (kind, word) = kind(record, task, step);
    let taken = timeline::taken(task);
    let (output, omitted) = facts.output.get(&place).cloned().unwrap_or_default();
    let reasons = step.and_then(|step| facts.reasons.get(&step.id)).cloned();
    Row {
        prefix: prefix.map(str::to_owned),
        name: name.to_owned(),
        kind,
        word,
        is_critical: path.contains(&place) && kind != "cached" && taken.is_some_and(|taken| taken >= BLINK),
        bar: timeline.bar(task).filter(|_| !step.is_some_and(is_needless)),
        time: taken
            .filter(|_| kind != "cached")
            .map(duration)
            .unwrap_or_default(),
        size: step
            .and_then(|step| facts.sizes.get(&step.id))
            .map(|size| human_size(*size)),
        place: step.map(|step| format!("{}:{}", step.place.file, step.place.line)),
        instruction: step
            .map(|step| step.instruction.clone())
            .filter(|text| text != name),
        reasons: reasons.unwrap_or_default(),
        output,
        omitted,
    }
}

/// The step of a task.
fn step_of(record: &BuildRecord, task: usize) -> Option<&StepRecord> {
    record.steps.iter().find(|step| step.task == Some(task))
}

/// A later result was known: the time at which that was found out says nothing.
fn is_needless(step: &StepRecord) -> bool {
    step.outcome == StepOutcome::Unneeded
}

/// Takes `[builder 2/5]` off the beginning.
fn split_name(name: &str) -> (Option<&str>, &str) {
    match name.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        Some((prefix, rest)) => (Some(prefix), rest),
        None => (None, name),
    }
}

fn kind(record: &BuildRecord, task: &TaskRecord, step: Option<&StepRecord>) -> (&'static str, &'static str) {
    let outcome = step.map(|step| step.outcome);
    match (task.completed, outcome) {
        _ if task.error.is_some() => ("failed", "failed"),
        (_, Some(StepOutcome::CachedByContent)) => ("cached", "cached: the same files"),
        (_, Some(StepOutcome::Shared)) => ("cached", "the same as another step"),
        (_, Some(StepOutcome::Unneeded)) => ("cached", "cached, not needed"),
        (_, Some(StepOutcome::Base)) if task.cached => ("cached", "base image"),
        _ if task.cached => ("cached", "cached"),
        (Some(_), _) => ("ran", if outcome.is_some() { "ran" } else { "done" }),
        (None, _) if task.started.is_some() => ("canceled", "stopped"),
        (None, _) if record.status == BuildStatus::Completed => ("cached", "not needed"),
        (None, _) => ("waiting", "never began"),
    }
}

fn counts(rows: &[Row]) -> Counts {
    let of = |kind: &str| rows.iter().filter(|row| row.kind == kind).count();
    Counts {
        all: rows.len(),
        ran: of("ran") + of("failed") + of("canceled"),
        cached: of("cached"),
        critical: rows.iter().filter(|row| row.is_critical).count(),
    }
}

impl From<&plimsoll_build::record::WarningRecord> for Warning {
    fn from(warning: &plimsoll_build::record::WarningRecord) -> Self {
        Self {
            code: warning.code.clone(),
            message: warning.message.clone(),
            place: warning
                .place
                .as_ref()
                .map(|place| format!("{}:{}", place.file, place.line)),
            shown: warning.shown.clone(),
        }
    }
}

fn dockerfile(facts: &Facts<'_>) -> Dockerfile {
    let record = facts.record;
    let line = |(place, text): (usize, &str)| {
        let number = place + 1;
        let of_line =
            |step: &&StepRecord| step.place.file == record.dockerfile.name && step.place.line == number;
        let steps: Vec<&StepRecord> = record.steps.iter().filter(of_line).collect();
        let tasks: Vec<&TaskRecord> = steps
            .iter()
            .filter_map(|step| step.task)
            .filter_map(|task| record.tasks.get(task))
            .collect();
        let ran: Vec<f64> = tasks
            .iter()
            .filter(|task| !task.cached)
            .filter_map(|task| timeline::taken(task))
            .collect();
        let bytes: u64 = steps
            .iter()
            .filter(|step| step.kind != StepKind::From)
            .filter_map(|step| facts.sizes.get(&step.id))
            .sum();
        let kind = match () {
            () if tasks.iter().any(|task| task.error.is_some()) => "failed",
            () if !ran.is_empty() => "ran",
            () if steps.iter().any(|step| step.outcome.is_cached()) => "cached",
            () => "",
        };
        DockerfileLine {
            number,
            text: text.to_owned(),
            kind,
            time: if ran.is_empty() {
                String::new()
            } else {
                duration(ran.iter().sum())
            },
            size: if bytes > 0 {
                human_size(bytes)
            } else {
                String::new()
            },
        }
    };
    Dockerfile {
        name: record.dockerfile.name.clone(),
        lines: record.dockerfile.text.lines().enumerate().map(line).collect(),
    }
}
