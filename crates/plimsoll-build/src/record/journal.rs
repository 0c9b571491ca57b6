//! What happens during a build, taken from its progress: tasks, warnings, output.
//!
//! ```text
//! log/01.log     what one task printed, its name in the first line
//! log/01.times   a line for each piece of it: nanoseconds since 1970, stream, bytes
//! ```

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

use camino::Utf8PathBuf;
use plimsoll_diagnostics::{Diagnostic, Severity};
use plimsoll_progress::{Event, Log, Status, Vertex};

use super::{CountRecord, Place, TaskRecord, WarningRecord};

/// Takes the events of one build.
pub(crate) struct Journal {
    folder: Utf8PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tasks: Vec<TaskRecord>,
    places: HashMap<String, usize>,
    logs: HashMap<usize, LogFile>,
    warnings: Vec<WarningRecord>,
}

struct LogFile {
    output: File,
    times: File,
}

impl Journal {
    /// Keeps the output of tasks in `folder`, which is made when there is some.
    pub(super) fn new(folder: Utf8PathBuf) -> Self {
        Self {
            folder,
            state: Mutex::default(),
        }
    }

    /// Takes an event.
    pub(super) fn event(&self, event: &Event) {
        let mut state = self.state();
        match event {
            Event::Vertex(vertex) => state.vertex(vertex),
            Event::Status(status) => state.count(status),
            Event::Warning(warning) => state.warnings.push(WarningRecord::from(&**warning)),
            // A project's, not the build's.
            Event::Resource(_) => {}
            // A full disk is no reason to stop the step; it will say so itself if it matters.
            Event::Log(log) => {
                if let Err(error) = state.log(log, &self.folder) {
                    tracing::warn!(%error, "cannot write the log of a step");
                }
            }
        }
    }

    /// Returns the file with the output of a task, if there was any.
    pub(crate) fn log(&self, task: &str) -> Option<Utf8PathBuf> {
        let state = self.state();
        let name = state.tasks[*state.places.get(task)?].log.as_ref()?;
        Some(self.folder.join(name))
    }

    /// Returns where a task stands.
    pub(super) fn position(&self, task: &str) -> Option<usize> {
        self.state().places.get(task).copied()
    }

    /// Returns all that was taken.
    pub(super) fn records(&self) -> (Vec<TaskRecord>, Vec<WarningRecord>) {
        let state = self.state();
        (state.tasks.clone(), state.warnings.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn vertex(&mut self, vertex: &Vertex) {
        let place = match self.places.get(&vertex.digest) {
            Some(place) => *place,
            None => {
                self.places.insert(vertex.digest.clone(), self.tasks.len());
                self.tasks.push(TaskRecord {
                    digest: vertex.digest.clone(),
                    inputs: vertex.inputs.clone(),
                    name: vertex.name.clone(),
                    started: None,
                    completed: None,
                    cached: false,
                    error: None,
                    counts: Vec::new(),
                    log: None,
                });
                self.tasks.len() - 1
            }
        };
        let task = &mut self.tasks[place];
        task.started = vertex.started;
        task.completed = vertex.completed;
        task.cached = vertex.cached;
        task.error.clone_from(&vertex.error);
        if vertex.completed.is_some() {
            self.logs.remove(&place);
        }
    }

    fn count(&mut self, status: &Status) {
        let Some(task) = self
            .places
            .get(&status.vertex)
            .map(|place| &mut self.tasks[*place])
        else {
            return;
        };
        let count = CountRecord {
            id: status.id.clone(),
            current: status.current,
            total: status.total,
            timestamp: status.timestamp,
            started: status.started,
            completed: status.completed,
        };
        match task.counts.iter_mut().find(|known| known.id == count.id) {
            Some(known) => *known = count,
            None => task.counts.push(count),
        }
    }

    fn log(&mut self, log: &Log, folder: &camino::Utf8Path) -> io::Result<()> {
        let Some(&place) = self.places.get(&log.vertex) else {
            return Ok(());
        };
        if !self.logs.contains_key(&place) {
            std::fs::create_dir_all(folder)?;
            let number = self.tasks.iter().filter(|task| task.log.is_some()).count() + 1;
            let file = |extension| File::create(folder.join(format!("{number:02}.{extension}")));
            let mut file = LogFile {
                output: file("log")?,
                times: file("times")?,
            };
            writeln!(file.output, "# {}", self.tasks[place].name)?;
            self.tasks[place].log = Some(format!("{number:02}.log"));
            self.logs.insert(place, file);
        }
        let file = self.logs.get_mut(&place).expect("just made");
        file.output.write_all(&log.data)?;
        let time = log.timestamp.as_nanosecond();
        writeln!(file.times, "{time} {} {}", log.stream, log.data.len())
    }
}

impl From<&Diagnostic> for WarningRecord {
    fn from(diagnostic: &Diagnostic) -> Self {
        let diagnostic = &Diagnostic {
            severity: Severity::Warning,
            ..diagnostic.clone()
        };
        Self {
            code: diagnostic.code.to_owned(),
            message: diagnostic.message.clone(),
            help: diagnostic.help.clone(),
            place: diagnostic.span().map(|span| Place::new(&diagnostic.source, span)),
            shown: plimsoll_diagnostics::render(diagnostic, false),
        }
    }
}
