//! A record while its build goes on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use camino::Utf8Path;
use jiff::Timestamp;
use plimsoll_diagnostics::{Source, Span};
use plimsoll_progress::Progress;
use plimsoll_solver::{Outcome, Report, Solver, VertexId};
use plimsoll_store::{SnapshotId, Store};
use rusqlite::OptionalExtension as _;

use super::history::{insert_row, update_row};
use super::{
    BuildOptions, BuildRecord, BuildStatus, ContextRecord, ErrorRecord, ExportRecord, ImageRecord, Journal,
    Place, StepKind, StepOutcome, StepRecord, TextRecord, VERSION,
};
use crate::build::{BuildRequest, BuiltImage};
use crate::cache::BuildCache;
use crate::context::BuildContext;
use crate::credentials::shown_value;
use crate::error::BuildError;
use crate::op::{BuildOp, Output};
use crate::scratch::Scratch;

/// The record of a build that goes on. Dropped without [`Recording::complete`] or [`Recording::fail`] it says that the
/// build was given up.
pub struct Recording {
    store: Store,
    progress: Progress,
    journal: Arc<Journal>,
    record: Mutex<BuildRecord>,
    ended: bool,
    /// Last: what is in it may be in use until the record is written.
    scratch: Scratch,
}

impl Recording {
    /// Starts the record; `builder history ls` shows it as running.
    pub fn start(store: &Store, request: &BuildRequest, progress: &Progress) -> Result<Self, BuildError> {
        let scratch = Scratch::new(store)?;
        let journal = Arc::new(Journal::new(scratch.home.join("log")));
        let events = journal.clone();
        let record = BuildRecord {
            version: VERSION,
            id: scratch.id.clone(),
            name: name(request, &place(store, &request.context)),
            status: BuildStatus::Running,
            started: Timestamp::now(),
            finished: None,
            options: options(request),
            dockerfile: TextRecord::from(&request.dockerfile),
            context: ContextRecord {
                root: place(store, &request.context),
                ignore: request.context.ignore_text.as_ref().map(TextRecord::from),
            },
            steps: Vec::new(),
            tasks: Vec::new(),
            warnings: Vec::new(),
            images: Vec::new(),
            exports: Vec::new(),
            error: None,
        };
        insert_row(store, &record)?;
        Ok(Self {
            store: store.clone(),
            progress: progress.and(move |event| events.event(event)),
            journal,
            record: Mutex::new(record),
            ended: false,
            scratch,
        })
    }

    /// Returns the build's id.
    pub fn id(&self) -> &str {
        &self.scratch.id
    }

    /// Returns where to report to, so that the record keeps it.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Returns where the output of steps is.
    pub(crate) fn journal(&self) -> Arc<Journal> {
        self.journal.clone()
    }

    /// Returns a folder that is gone with the build.
    pub(crate) fn folder(&self) -> &Utf8Path {
        &self.scratch.folder
    }

    /// Returns what is known of the build so far.
    pub(crate) fn so_far(&self) -> BuildRecord {
        self.record().clone()
    }

    /// Notes the steps of a solver when the guard is dropped, however that comes.
    pub(crate) fn watch<'a>(&'a self, solver: &'a Solver<BuildOp, BuildCache>) -> Watch<'a> {
        Watch {
            recording: self,
            solver,
        }
    }

    /// Notes what was built.
    pub(crate) fn built(&self, images: &[BuiltImage]) {
        let image = |built: &BuiltImage| ImageRecord {
            platform: built.platform.to_string(),
            manifest_digest: built.image.manifest_digest.to_string(),
            config_digest: built.image.id.to_string(),
        };
        self.record().images = images.iter().map(image).collect();
    }

    /// Notes why the build failed.
    pub(crate) fn failed(&self, error: &BuildError) {
        self.record().error = Some(ErrorRecord::from(error));
    }

    /// Notes where it went.
    pub fn exported(&self, export: ExportRecord) {
        self.record().exports.push(export);
    }

    /// Ends the record of a build that went well and returns it.
    pub fn complete(mut self) -> BuildRecord {
        self.end(BuildStatus::Completed)
    }

    /// Ends the record of a build that failed and returns it. What is known of the reason already stays.
    pub fn fail(mut self, message: impl std::fmt::Display) -> BuildRecord {
        self.record().error.get_or_insert_with(|| ErrorRecord {
            message: message.to_string(),
            place: None,
        });
        self.end(BuildStatus::Failed)
    }

    fn end(&mut self, status: BuildStatus) -> BuildRecord {
        self.ended = true;
        let (tasks, warnings) = self.journal.records();
        let mut record = self.record().clone();
        record.tasks = tasks;
        record.warnings = warnings;
        record.status = status;
        record.finished = Some(Timestamp::now());
        let written = record.write(&self.scratch.home);
        let written = written.and_then(|()| update_row(&self.store, &record));
        if let Err(error) = written {
            tracing::warn!(%error, build = record.id, "cannot write the record of a build");
        }
        record
    }

    fn steps(&self, solver: &Solver<BuildOp, BuildCache>) -> Vec<StepRecord> {
        let reports = solver.reports();
        let ids: Vec<_> = reports.iter().map(|(id, ..)| *id).collect();
        let positions = |inputs: &[VertexId]| -> Vec<usize> {
            let position = |wanted| ids.iter().position(|id| *id == wanted);
            inputs.iter().filter_map(|input| position(*input)).collect()
        };
        // When a later step has its result, those before it were not needed.
        let mut needless = vec![false; reports.len()];
        for (at, (_, inputs, report)) in reports.iter().enumerate().rev() {
            if needless[at] || report.output.is_some() {
                positions(inputs)
                    .into_iter()
                    .for_each(|input| needless[input] = true);
            }
        }
        let step = |(at, (id, inputs, report)): (usize, &(VertexId, &[VertexId], Report<Output>))| {
            let task = report.task.as_ref().and_then(|task| self.journal.position(task));
            let step = step(
                &self.store,
                at,
                solver.op(*id),
                positions(inputs),
                report,
                needless[at],
            );
            StepRecord { task, ..step }
        };
        reports.iter().enumerate().map(step).collect()
    }

    fn record(&self) -> MutexGuard<'_, BuildRecord> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if !self.ended {
            self.end(BuildStatus::Canceled);
        }
    }
}

/// Notes what became of each vertex when it is dropped.
pub(crate) struct Watch<'a> {
    recording: &'a Recording,
    solver: &'a Solver<BuildOp, BuildCache>,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let steps = self.recording.steps(self.solver);
        self.recording.record().steps = steps;
    }
}

fn step(
    store: &Store,
    id: usize,
    op: &BuildOp,
    inputs: Vec<usize>,
    report: &Report<Output>,
    needless: bool,
) -> StepRecord {
    let kind = op.kind();
    let outcome = match report.outcome {
        Some(Outcome::Ran | Outcome::Shared) if kind == StepKind::From => StepOutcome::Base,
        Some(Outcome::Found) => StepOutcome::Cached,
        Some(Outcome::FoundByContent) => StepOutcome::CachedByContent,
        Some(Outcome::Shared) => StepOutcome::Shared,
        Some(Outcome::Ran) => StepOutcome::Ran,
        Some(Outcome::Failed) => StepOutcome::Failed,
        None if needless => StepOutcome::Unneeded,
        None => StepOutcome::Unfinished,
    };
    let (made, output) = (report.made.as_ref(), report.output.as_ref());
    StepRecord {
        id,
        task: None,
        name: op.name.clone(),
        kind,
        stage: (*op.stage).clone(),
        instruction: op.instruction(),
        place: Place::new(&op.source, op.span),
        on_base: op.on_base(inputs.len()),
        inputs,
        outcome,
        started: report.started,
        finished: report.finished,
        key: report.key.map(|key| key.to_string()),
        content_key: report.content_key.map(|key| key.to_string()),
        content: output.map(|output| output.content.to_string()),
        same_as_earlier: made
            .zip(output)
            .is_some_and(|(made, output)| made.snapshot != output.snapshot),
        snapshot: output.map(|output| output.snapshot.0),
        bytes: output.and_then(|output| known_size(store, output.snapshot)),
        parts: op.parts(),
    }
}

/// Size of a layer that was measured before.
fn known_size(store: &Store, snapshot: SnapshotId) -> Option<u64> {
    let size = store.db().read(|db| -> plimsoll_store::Result<Option<i64>> {
        let mut query = db.prepare_cached("SELECT size FROM snapshot WHERE id = ?1")?;
        Ok(query
            .query_row([snapshot.0], |row| row.get(0))
            .optional()?
            .flatten())
    });
    size.ok().flatten().map(i64::cast_unsigned)
}

/// Where a context is, so that later builds of it are known by it: its folder, the URL it was fetched from, or `-` for an
/// archive from standard input.
fn place(store: &Store, context: &BuildContext) -> String {
    match &context.origin {
        Some(origin) => origin.uri.clone(),
        None if context.root().starts_with(store.root()) => "-".to_owned(),
        None => context.root().to_string_lossy().into_owned(),
    }
}

/// As buildx calls a build: the context's folder, the Dockerfile if it has another name, the target.
fn name(request: &BuildRequest, context: &str) -> String {
    if let Some(name) = request
        .build_args
        .get("BUILDKIT_BUILD_NAME")
        .filter(|name| !name.is_empty())
    {
        return name.clone();
    }
    let mut name = context.rsplit('/').next().unwrap_or_default().to_owned();
    let file = request.dockerfile.name.rsplit('/').next().unwrap_or_default();
    if file != "Dockerfile" || name.is_empty() {
        let slash = if name.is_empty() { "" } else { "/" };
        name.push_str(&format!("{slash}{file}"));
    }
    if let Some(target) = &request.target {
        name.push_str(&format!(" ({target})"));
    }
    name
}

fn options(request: &BuildRequest) -> BuildOptions {
    let shown = |(name, value): (&String, &String)| (name.clone(), shown_value(name, value).0);
    BuildOptions {
        target: request.target.clone(),
        platforms: request.platforms.iter().map(ToString::to_string).collect(),
        build_args: request.build_args.iter().map(shown).collect(),
        labels: request.labels.clone(),
        contexts: request.contexts.iter().map(|(name, _)| name.clone()).collect(),
        no_cache: request.no_cache,
        no_cache_stages: request.no_cache_stages.clone(),
        pull: request.pull,
        network: format!("{:?}", request.network).to_lowercase(),
        add_hosts: request
            .add_hosts
            .iter()
            .map(|(name, address)| format!("{name}:{address}"))
            .collect(),
        secrets: request.run.secrets.keys().cloned().collect(),
        ssh: request.run.ssh.keys().cloned().collect(),
    }
}

impl From<&Source> for TextRecord {
    fn from(source: &Source) -> Self {
        Self {
            name: source.name.to_string(),
            text: source.text.to_string(),
        }
    }
}

impl Place {
    pub(super) fn new(source: &Source, span: Span) -> Self {
        Self {
            file: source.name.to_string(),
            line: source.position(span.start).line,
            last_line: source.position(span.end).line,
        }
    }
}

impl From<&BuildError> for ErrorRecord {
    fn from(error: &BuildError) -> Self {
        let diagnostic = match error {
            BuildError::Diagnostics(diagnostics) => diagnostics.first(),
            BuildError::Step { diagnostic, .. } => Some(&**diagnostic),
            _ => None,
        };
        let place =
            diagnostic.and_then(|diagnostic| Some(Place::new(&diagnostic.source, diagnostic.span()?)));
        Self {
            message: error.to_string(),
            place,
        }
    }
}
