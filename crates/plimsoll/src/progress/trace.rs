//! What is known so far about every task.

use std::collections::HashMap;

use jiff::Timestamp;
use plimsoll_progress::diagnostics::Diagnostic;
use plimsoll_progress::{Event, Log, Status, Vertex};

use super::resources::Resources;

/// All tasks in the order in which they were announced.
#[derive(Default)]
pub(super) struct Trace {
    pub(super) tasks: Vec<Task>,
    pub(super) resources: Resources,
    /// Lines of output to keep of each. (Those of a failed one are part of its error.)
    tail: usize,
    places: HashMap<String, usize>,
    warnings: Vec<Diagnostic>,
}

/// One task.
pub(super) struct Task {
    pub(super) vertex: Vertex,
    pub(super) statuses: Vec<Status>,
    /// The last whole lines of its output, each with its time.
    pub(super) tail: Vec<(Timestamp, String)>,
    partial: String,
}

/// What an event changed: the task's place and, for output, its new whole lines.
pub(super) struct Change {
    pub(super) task: usize,
    pub(super) lines: Vec<(Timestamp, String)>,
    /// The status that moved.
    pub(super) status: Option<Status>,
}

impl Trace {
    /// Returns a trace that keeps the last `tail` lines of each task.
    pub(super) fn keeping(tail: usize) -> Self {
        Self {
            tail,
            ..Self::default()
        }
    }

    /// Takes an event; None when it concerns no task.
    pub(super) fn update(&mut self, event: Event) -> Option<Change> {
        let change = |task| Change {
            task,
            lines: Vec::new(),
            status: None,
        };
        match event {
            Event::Vertex(vertex) => {
                let place = self.place(&vertex.digest);
                let lines = if vertex.completed.is_some() {
                    self.tasks[place].rest(self.tail)
                } else {
                    Vec::new()
                };
                self.tasks[place].vertex = vertex;
                Some(Change {
                    lines,
                    ..change(place)
                })
            }
            Event::Status(status) => {
                let place = self.place(&status.vertex);
                self.tasks[place].count(status.clone());
                Some(Change {
                    status: Some(status),
                    ..change(place)
                })
            }
            Event::Log(log) => {
                let place = self.place(&log.vertex);
                Some(Change {
                    lines: self.tasks[place].output(&log, self.tail),
                    ..change(place)
                })
            }
            Event::Warning(diagnostic) => {
                self.warnings.push(*diagnostic);
                None
            }
            Event::Resource(resource) => {
                self.resources.take(resource);
                None
            }
        }
    }

    /// Whether there is nothing to show.
    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.resources.is_empty()
    }

    fn place(&mut self, digest: &str) -> usize {
        if let Some(place) = self.places.get(digest) {
            return *place;
        }
        let vertex = Vertex {
            digest: digest.to_owned(),
            inputs: Vec::new(),
            name: String::new(),
            started: None,
            completed: None,
            cached: false,
            error: None,
        };
        self.tasks.push(Task {
            vertex,
            statuses: Vec::new(),
            tail: Vec::new(),
            partial: String::new(),
        });
        self.places.insert(digest.to_owned(), self.tasks.len() - 1);
        self.tasks.len() - 1
    }

    /// The warnings, which text displays end with.
    pub(super) fn warnings(&self, color: bool) -> String {
        self.warnings
            .iter()
            .map(|warning| plimsoll_diagnostics::render(warning, color))
            .collect()
    }
}

impl Task {
    /// Seconds from its start to `time`.
    pub(super) fn seconds_until(&self, time: Timestamp) -> f64 {
        self.vertex
            .started
            .map_or(0.0, |started| time.duration_since(started).as_secs_f64().max(0.0))
    }

    fn count(&mut self, status: Status) {
        match self.statuses.iter_mut().find(|known| known.id == status.id) {
            Some(known) => *known = status,
            None => self.statuses.push(status),
        }
    }

    /// Takes output; returns the lines it completed.
    fn output(&mut self, log: &Log, tail: usize) -> Vec<(Timestamp, String)> {
        self.partial.push_str(&String::from_utf8_lossy(&log.data));
        let mut lines = Vec::new();
        while let Some(newline) = self.partial.find('\n') {
            let line: String = self.partial.drain(..=newline).collect();
            lines.push((log.timestamp, visible(&line)));
        }
        self.keep(&lines, tail);
        lines
    }

    /// A last line without a newline.
    fn rest(&mut self, tail: usize) -> Vec<(Timestamp, String)> {
        if self.partial.is_empty() {
            return Vec::new();
        }
        let line = vec![(Timestamp::now(), visible(&std::mem::take(&mut self.partial)))];
        self.keep(&line, tail);
        line
    }

    fn keep(&mut self, lines: &[(Timestamp, String)], tail: usize) {
        self.tail.extend_from_slice(lines);
        let excess = self.tail.len().saturating_sub(tail);
        self.tail.drain(..excess);
    }
}

/// How far a count is, after a blank: `1.50MB / 2.00MB`; nothing when there is nothing to count.
pub(super) fn amount(status: &Status) -> String {
    match (status.current, status.total) {
        (0, 0) => String::new(),
        (current, 0) => format!(" {}", bytes_text(current)),
        (current, total) => format!(" {} / {}", bytes_text(current), bytes_text(total)),
    }
}

/// Bytes as BuildKit writes them: two decimals behind the point, of whole bytes none.
fn bytes_text(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes}B");
    }
    #[expect(clippy::cast_precision_loss, reason = "rounded to a few digits anyway")]
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 1000.0 {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.2}{}", UNITS[unit])
}

/// What a terminal would show of a line: after the last carriage return, without control characters other
/// than the escape sequences of colours, which programs in a pipe do not send anyway.
pub(crate) fn visible(line: &str) -> String {
    let line = line.trim_end_matches(['\n', '\r']);
    let shown = line.rsplit('\r').next().unwrap_or_default();
    anstream::adapter::strip_str(shown)
        .to_string()
        .replace('\t', "    ")
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn lines_are_joined_across_events() {
        let mut trace = Trace::default();
        trace.update(fixture::log("a", "one\ntw", 1));
        let change = trace.update(fixture::log("a", "o\n", 2)).unwrap();
        assert_eq!(change.lines, [(fixture::at(2), "two".to_owned())]);
    }

    #[test]
    fn progress_bars_and_colours_of_programs_leave_one_clean_line() {
        assert_eq!(visible("10%\r50%\r\u{1b}[32m100%\u{1b}[0m\n"), "100%");
    }

    #[test]
    fn only_the_tail_is_kept() {
        let mut trace = Trace::keeping(6);
        let text: String = (0..100).map(|number| format!("{number}\n")).collect();
        trace.update(fixture::log("a", &text, 1));
        assert_eq!(trace.tasks[0].tail.len(), 6);
        assert_eq!(trace.tasks[0].tail[5].1, "99");
    }

    #[test]
    fn amounts_have_two_decimals() {
        for (bytes, shown) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1.00kB"),
            (3_620_000, "3.62MB"),
            (u64::MAX, "18.45EB"),
        ] {
            assert_eq!(bytes_text(bytes), shown);
        }
    }
}
