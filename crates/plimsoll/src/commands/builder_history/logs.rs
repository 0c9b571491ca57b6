//! `builder history logs`, `buildx history logs`

use std::process::ExitCode;

use jiff::Timestamp;
use plimsoll_build::record::{BuildRecord, History, TaskRecord};
use plimsoll_progress::{Event, Log, Status, Vertex};

use super::Reference;
use crate::command_error::CommandError;
use crate::context::Context;
use crate::progress::Mode;

/// Show what a build of the past printed
///
/// Replays its progress, in the form that a build would have shown it, with the times it had then.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    reference: Reference,
    /// How to show it
    #[arg(long, value_name = "MODE", value_enum, default_value = "plain")]
    progress: Mode,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let (history, record) = args.reference.load(context)?;
    let events = events(&history, &record)?;
    let mode = if args.progress == Mode::Auto {
        Mode::Plain
    } else {
        args.progress
    };
    let display = context.progress("Building", Some(mode))?;
    events
        .into_iter()
        .for_each(|(_, event)| display.progress().replay(event));
    display.finish();
    let shown: String = record
        .warnings
        .iter()
        .map(|warning| warning.shown.as_str())
        .collect();
    if matches!(mode, Mode::Plain | Mode::Tty) {
        std::io::Write::write_all(&mut context.stderr(), shown.as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What happened, in the order of time.
fn events(history: &History, record: &BuildRecord) -> Result<Vec<(Timestamp, Event)>, CommandError> {
    let mut events = Vec::new();
    for task in &record.tasks {
        let announced = vertex(task, None, None);
        events.push((record.started, announced));
        if let Some(started) = task.started {
            events.push((started, vertex(task, task.started, None)));
        }
        for count in &task.counts {
            let status = Status {
                id: count.id.clone(),
                vertex: task.digest.clone(),
                current: count.current,
                total: count.total,
                timestamp: count.timestamp,
                started: count.started,
                completed: count.completed,
            };
            events.push((count.timestamp, Event::Status(status)));
        }
        for output in history.output(&record.id, task)? {
            let log = Log {
                vertex: task.digest.clone(),
                stream: output.stream,
                data: output.data,
                timestamp: output.timestamp,
            };
            events.push((output.timestamp, Event::Log(log)));
        }
        if let Some(completed) = task.completed {
            events.push((completed, vertex(task, task.started, task.completed)));
        }
    }
    // Stable: what happened at the same moment stays in order.
    events.sort_by_key(|(time, _)| *time);
    Ok(events)
}

fn vertex(task: &TaskRecord, started: Option<Timestamp>, completed: Option<Timestamp>) -> Event {
    Event::Vertex(Vertex {
        digest: task.digest.clone(),
        inputs: task.inputs.clone(),
        name: task.name.clone(),
        started,
        completed,
        cached: completed.is_some() && task.cached,
        error: completed.and(task.error.clone()),
    })
}
