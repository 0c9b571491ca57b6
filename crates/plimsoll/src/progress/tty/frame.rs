//! What one drawing shows: the whole story, or as much of it as a low terminal has room for.

use std::collections::HashMap;

use anstyle::Style;
use jiff::Timestamp;
use plimsoll_progress::{ResourceState, Status};

use super::colors::Colors;
use crate::progress::resources::Row;
use crate::progress::trace::{Task, Trace, amount};

/// One line: a text, and figures at its right end.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    pub(super) text: String,
    /// Bytes of the step's layer.
    pub(super) size: Option<u64>,
    pub(super) seconds: Option<f64>,
    pub(super) style: Style,
}

impl Line {
    fn new(text: String, style: Style) -> Self {
        Self {
            text,
            style,
            ..Self::default()
        }
    }
}

/// What a drawing depends on besides the trace.
pub(super) struct View<'a> {
    pub(super) now: Timestamp,
    pub(super) began: Timestamp,
    /// What is going on: `Building`.
    pub(super) verb: &'a str,
    pub(super) colors: &'a Colors,
    /// Lines of output under a running step.
    pub(super) tail: usize,
    /// Bytes of layers by task, known at the end.
    pub(super) sizes: &'a HashMap<String, u64>,
    pub(super) is_over: bool,
}

/// Returns the lines to show in `rows` rows; all there is to tell when the work is over.
pub(super) fn frame(trace: &Trace, view: &View<'_>, rows: usize) -> Vec<Line> {
    if trace.resources.is_empty() {
        return tasks(trace, view, rows);
    }
    let resources = resources(trace, view, rows);
    let mut lines = match trace.tasks.is_empty() || rows <= resources.len() {
        true => Vec::new(),
        false => tasks(trace, view, rows - resources.len()),
    };
    lines.extend(resources);
    lines
}

/// What is done with the things of a project.
fn resources(trace: &Trace, view: &View<'_>, rows: usize) -> Vec<Line> {
    let colors = view.colors;
    let style = |state| match state {
        ResourceState::Done => colors.done,
        ResourceState::Warning => colors.canceled,
        ResourceState::Error => colors.error,
        ResourceState::Working => Style::new(),
    };
    let line = |row: Row| Line {
        seconds: Some(row.seconds),
        ..Line::new(row.text, style(row.state))
    };
    let rows = trace.resources.rows(view.now, rows.saturating_sub(1));
    let header = Line::new(trace.resources.header(), Style::new());
    std::iter::once(header)
        .chain(rows.into_iter().map(line))
        .collect()
}

/// The steps of builds and pulls.
fn tasks(trace: &Trace, view: &View<'_>, rows: usize) -> Vec<Line> {
    let mut begun: Vec<&Task> = trace
        .tasks
        .iter()
        .filter(|task| task.vertex.started.is_some())
        .collect();
    begun.sort_by_key(|task| task.vertex.started);
    let (ended, running): (Vec<_>, Vec<_>) = begun.iter().partition(|task| task.vertex.completed.is_some());
    let mut lines = vec![header(trace.tasks.len(), ended.len(), view)];
    if view.is_over {
        lines.extend(begun.iter().map(|task| task_line(task, view)));
        return lines;
    }
    let room = rows.saturating_sub(lines.len()).max(1);
    let running = running_lines(&running, view, room);
    lines.extend(ended_lines(&ended, view, room - running.len()));
    lines.extend(running);
    lines
}

fn header(all: usize, ended: usize, view: &View<'_>) -> Line {
    let seconds = view.now.duration_since(view.began).as_secs_f64().max(0.0);
    let over = if view.is_over { " FINISHED" } else { "" };
    let verb = view.verb;
    Line::new(
        format!("[+] {verb} {seconds:.1}s ({ended}/{all}){over}"),
        Style::new(),
    )
}

/// Running steps with what they count and said last; in too little room first the output gets shorter, then the counts,
/// then the last steps are only counted.
fn running_lines(running: &[&Task], view: &View<'_>, room: usize) -> Vec<Line> {
    let with = |details: usize| -> Vec<Line> {
        let lines = |task: &&Task| {
            let details = details_of(task, view, details);
            std::iter::once(task_line(task, view)).chain(details)
        };
        running.iter().flat_map(lines).collect()
    };
    let most = view
        .tail
        .max(running.iter().map(|task| task.statuses.len()).max().unwrap_or(0));
    let fitting = (0..=most).rev().map(with).find(|lines| lines.len() <= room);
    fitting.unwrap_or_else(|| {
        let shown = room.saturating_sub(1);
        let mut lines: Vec<Line> = running[..shown]
            .iter()
            .map(|task| task_line(task, view))
            .collect();
        let more = running.len() - shown;
        lines.push(Line::new(
            format!(" => ... and {more} more running"),
            view.colors.faint,
        ));
        lines
    })
}

/// Finished steps, a line each; those that have no room are put together in the first line.
fn ended_lines(ended: &[&Task], view: &View<'_>, room: usize) -> Vec<Line> {
    if ended.len() <= room {
        return ended.iter().map(|task| task_line(task, view)).collect();
    }
    let Some(shown) = room.checked_sub(1) else {
        return Vec::new();
    };
    let (folded, last) = ended.split_at(ended.len() - shown);
    let cached = folded.iter().filter(|task| task.vertex.cached).count();
    let cached = if cached > 0 {
        format!(", {cached} CACHED")
    } else {
        String::new()
    };
    let text = format!(" => {} steps finished{cached}", folded.len());
    std::iter::once(Line::new(text, view.colors.done))
        .chain(last.iter().map(|task| task_line(task, view)))
        .collect()
}

fn task_line(task: &Task, view: &View<'_>) -> Line {
    let vertex = &task.vertex;
    let colors = view.colors;
    let (mark, style) = match () {
        () if vertex.error.is_some() => ("ERROR ", colors.error),
        () if vertex.cached => ("CACHED ", colors.done),
        () if vertex.completed.is_some() => ("", colors.done),
        () if view.is_over => ("CANCELED ", colors.canceled),
        () => ("", Style::new()),
    };
    Line {
        text: format!(" => {mark}{}", vertex.name),
        size: view.sizes.get(&vertex.digest).copied(),
        seconds: Some(task.seconds_until(vertex.completed.unwrap_or(view.now))),
        style,
    }
}

/// At most `most` lines of counts, and as many of output.
fn details_of(task: &Task, view: &View<'_>, most: usize) -> Vec<Line> {
    let mut lines = status_lines(&task.statuses, view, most);
    let tail = &task.tail[task.tail.len().saturating_sub(most.min(view.tail))..];
    let output = |(_, line): &(Timestamp, String)| Line::new(format!(" => => # {line}"), view.colors.faint);
    lines.extend(tail.iter().map(output));
    lines
}

/// Counts that go on come before those that are done, which are put together when they have no room.
fn status_lines(statuses: &[Status], view: &View<'_>, most: usize) -> Vec<Line> {
    if statuses.len() <= most {
        return statuses
            .iter()
            .map(|status| status_line(status, view.now))
            .collect();
    }
    let Some(shown) = most.checked_sub(1) else {
        return Vec::new();
    };
    let mut chosen: Vec<(usize, &Status)> = statuses.iter().enumerate().collect();
    chosen.sort_by_key(|(place, status)| (status.completed.is_some(), *place));
    chosen.truncate(shown);
    chosen.sort_by_key(|(place, _)| *place);
    let mut lines: Vec<Line> = chosen
        .iter()
        .map(|(_, status)| status_line(status, view.now))
        .collect();
    let more = statuses.len() - shown;
    lines.push(Line::new(
        format!(" => => ... and {more} more"),
        view.colors.faint,
    ));
    lines
}

fn status_line(status: &Status, now: Timestamp) -> Line {
    let amount = amount(status);
    let end = status.completed.unwrap_or(now);
    let seconds = |started| end.duration_since(started).as_secs_f64().max(0.0);
    Line {
        seconds: status.started.map(seconds),
        ..Line::new(format!(" => => {}{amount}", status.id), Style::new())
    }
}

#[cfg(test)]
mod tests {
    use plimsoll_progress::Event;

    use super::*;
    use crate::output::units::human_size;
    use crate::progress::fixture::{at, build, log, status, vertex};

    fn trace(events: impl IntoIterator<Item = Event>) -> Trace {
        let mut trace = Trace::keeping(6);
        events.into_iter().for_each(|event| drop(trace.update(event)));
        trace
    }

    fn shown(trace: &Trace, now: i64, rows: usize, is_over: bool) -> String {
        let view = View {
            now: at(now),
            began: at(0),
            verb: "Building",
            colors: &Colors::none(),
            tail: 6,
            sizes: &HashMap::from([("b".to_owned(), 12_345_678)]),
            is_over,
        };
        let line = |line: &Line| {
            let size = line.size.filter(|_| is_over).map(human_size).unwrap_or_default();
            let seconds = line
                .seconds
                .map(|seconds| format!("{seconds:.1}s"))
                .unwrap_or_default();
            format!("{} | {size} | {seconds}\n", line.text)
        };
        frame(trace, &view, rows).iter().map(line).collect()
    }

    #[test]
    fn running_steps_show_counts_and_output() {
        insta::assert_snapshot!(shown(&trace(build().into_iter().take(12)), 750, 24, false));
    }

    #[test]
    fn the_end_tells_everything() {
        let canceled = [
            Event::Vertex(vertex("e", "RUN sleep", Some(100), None)),
            log("e", "zzz\n", 200),
        ];
        insta::assert_snapshot!(shown(&trace(build().into_iter().chain(canceled)), 950, 4, true));
    }

    /// Ten finished steps, and two that print.
    fn busy() -> Trace {
        let ended = (0..10).map(|number| {
            let mut vertex = vertex(
                &format!("e{number}"),
                &format!("ended {number}"),
                Some(number),
                Some(number + 1),
            );
            vertex.cached = number % 2 == 0;
            Event::Vertex(vertex)
        });
        let running = (0..2).flat_map(|number| {
            let id = format!("r{number}");
            let lines: String = (0..8).map(|line| format!("line {line}\n")).collect();
            [
                Event::Vertex(vertex(
                    &id,
                    &format!("running {number}"),
                    Some(100 + number),
                    None,
                )),
                status(&id, "layer a", 5, 10, 200),
                status(&id, "layer b", 10, 10, 200),
                log(&id, &lines, 300),
            ]
        });
        trace(ended.chain(running))
    }

    #[test]
    fn what_has_no_room_is_folded() {
        let busy = busy();
        for rows in [40, 24, 14, 8, 4, 2, 1] {
            let lines = shown(&busy, 500, rows, false).lines().count();
            assert!(lines <= rows.max(2), "{lines} lines in {rows} rows");
        }
        insta::assert_snapshot!("folded_14", shown(&busy, 500, 14, false));
        insta::assert_snapshot!("folded_5", shown(&busy, 500, 5, false));
        insta::assert_snapshot!("folded_2", shown(&busy, 500, 2, false));
    }
}
