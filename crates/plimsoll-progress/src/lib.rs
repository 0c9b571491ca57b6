//! What is going on: tasks, logs, byte counts, warnings.
//!
//! Libraries hold a [`Progress`] and report; the command line decides what to draw. The event structs
//! serialise to BuildKit's status form (`client.SolveStatus`), so that readers of `--progress=rawjson`
//! keep working. Tests use [`Progress::none`].

mod resource;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use plimsoll_oci::Digest;
use serde::Serialize;

pub use plimsoll_diagnostics as diagnostics;
use plimsoll_diagnostics::Diagnostic;

pub use resource::{Resource, ResourceState};

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A task began, ended or was found in the cache; the whole state each time.
    Vertex(Vertex),
    /// A byte or item count within a task.
    Status(Status),
    /// Output of a task.
    Log(Log),
    /// A diagnostic that does not stop the work.
    Warning(Box<Diagnostic>),
    /// A container, network, volume or image of a project changed its state.
    Resource(Resource),
}

/// One task: a build step, a pull, a load. BuildKit's `Vertex`.
#[derive(Clone, Debug, Serialize)]
pub struct Vertex {
    /// Identifies the task within one command.
    pub digest: String,
    /// Tasks this one waits for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<String>,
    /// What the user reads: `[builder 2/5] RUN make`.
    pub name: String,
    /// When it began to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed: Option<Timestamp>,
    /// True when nothing ran because the result was known.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cached: bool,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A count within a task. BuildKit's `VertexStatus`.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// What is counted: a layer's digest, `transferring context`.
    pub id: String,
    /// The task.
    pub vertex: String,
    /// Done so far, bytes unless the name says otherwise.
    pub current: u64,
    /// Expected in all; 0 when unknown.
    #[serde(skip_serializing_if = "is_zero")]
    pub total: u64,
    /// Time of this reading.
    pub timestamp: Timestamp,
    /// When counting began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// When it was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed: Option<Timestamp>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Output of a task. BuildKit's `VertexLog`; `data` is base64 in JSON.
#[derive(Clone, Debug)]
pub struct Log {
    /// The task.
    pub vertex: String,
    /// 1 stdout, 2 stderr.
    pub stream: u8,
    /// Raw bytes, not necessarily whole lines.
    pub data: Vec<u8>,
    /// When it was read.
    pub timestamp: Timestamp,
}

type Sink = dyn Fn(Event) + Send + Sync;

/// Takes reports; cheap to clone.
#[derive(Clone)]
pub struct Progress {
    sink: Option<Arc<Sink>>,
    next: Arc<AtomicU64>,
}

impl Progress {
    /// Returns a progress that calls `sink` for each event. The sink must not block: it is called from
    /// the threads that do the work.
    pub fn new(sink: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self {
            sink: Some(Arc::new(sink)),
            next: Arc::default(),
        }
    }

    /// Returns a progress that drops everything.
    pub fn none() -> Self {
        Self {
            sink: None,
            next: Arc::default(),
        }
    }

    /// Returns a progress that also calls `sink`, which must not block either.
    pub fn and(&self, sink: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        let first = self.sink.clone();
        let both = move |event: Event| {
            sink(&event);
            if let Some(first) = &first {
                first(event);
            }
        };
        Self {
            sink: Some(Arc::new(both)),
            next: self.next.clone(),
        }
    }

    /// Announces a task that has not begun, with the tasks it waits for.
    pub fn task(&self, name: impl Into<String>, inputs: &[&Task]) -> Task {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let name = name.into();
        let task = Task {
            progress: self.clone(),
            vertex: Vertex {
                // Unique in the command, and of the form that readers of BuildKit's JSON expect.
                digest: Digest::of(format!("{number} {name}")).to_string(),
                inputs: inputs.iter().map(|task| task.vertex.digest.clone()).collect(),
                name,
                started: None,
                completed: None,
                cached: false,
                error: None,
            },
        };
        self.send(|| Event::Vertex(task.vertex.clone()));
        task
    }

    /// Announces a task that begins now.
    pub fn start(&self, name: impl Into<String>) -> Task {
        let mut task = self.task(name, &[]);
        task.start();
        task
    }

    /// Reports a diagnostic that does not stop the work.
    pub fn warn(&self, diagnostic: Diagnostic) {
        self.send(|| Event::Warning(Box::new(diagnostic)));
    }

    /// Passes on something that happened in the past.
    pub fn replay(&self, event: Event) {
        self.send(|| event);
    }

    fn send(&self, event: impl FnOnce() -> Event) {
        if let Some(sink) = &self.sink {
            sink(event());
        }
    }
}

/// One task; report on it, then call exactly one of [`Task::done`], [`Task::cached`], [`Task::failed`].
///
/// A task that is dropped while running simply stays unfinished: its command was cancelled.
pub struct Task {
    progress: Progress,
    vertex: Vertex,
}

impl Task {
    /// Returns what events call it: [`Vertex::digest`].
    pub fn id(&self) -> &str {
        &self.vertex.digest
    }

    /// Reports that it runs now.
    pub fn start(&mut self) {
        self.vertex.started = Some(Timestamp::now());
        self.report();
    }

    /// Reports output. `stream` is 1 for stdout, 2 for stderr.
    pub fn log(&self, stream: u8, data: &[u8]) {
        self.progress.send(|| {
            Event::Log(Log {
                vertex: self.vertex.digest.clone(),
                stream,
                data: data.to_vec(),
                timestamp: Timestamp::now(),
            })
        });
    }

    /// Reports a count; `total` is 0 when unknown, and reaching it ends the count.
    pub fn count(&self, id: &str, current: u64, total: u64) {
        self.progress.send(|| {
            let now = Timestamp::now();
            Event::Status(Status {
                id: id.to_owned(),
                vertex: self.vertex.digest.clone(),
                current,
                total,
                timestamp: now,
                started: self.vertex.started,
                completed: (total > 0 && current >= total).then_some(now),
            })
        });
    }

    /// Ends the task: its result was known.
    pub fn cached(mut self) {
        self.vertex.cached = true;
        self.finish(None);
    }

    /// Ends the task well.
    pub fn done(mut self) {
        self.finish(None);
    }

    /// Ends the task badly.
    pub fn failed(mut self, error: impl std::fmt::Display) {
        self.finish(Some(error.to_string()));
    }

    fn finish(&mut self, error: Option<String>) {
        let now = Timestamp::now();
        self.vertex.started.get_or_insert(now);
        self.vertex.completed = Some(now);
        self.vertex.error = error;
        self.report();
    }

    fn report(&self) {
        self.progress.send(|| Event::Vertex(self.vertex.clone()));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn a_task_reports_its_life() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let progress = Progress::new({
            let seen = seen.clone();
            move |event| seen.lock().unwrap().push(event)
        });
        let mut task = progress.task("RUN true", &[]);
        task.start();
        task.log(1, b"hello\n");
        task.done();
        let seen = seen.lock().unwrap();
        let [
            Event::Vertex(first),
            Event::Vertex(second),
            Event::Log(log),
            Event::Vertex(last),
        ] = &seen[..]
        else {
            panic!("{seen:?}")
        };
        assert!(first.started.is_none() && second.started.is_some() && second.completed.is_none());
        assert_eq!(
            (log.vertex.as_str(), log.data.as_slice()),
            (first.digest.as_str(), b"hello\n".as_slice())
        );
        assert!(last.completed.is_some() && last.error.is_none() && !last.cached);
    }
}
