//! Lines, in BuildKit's form: `#5 [builder 2/4] RUN make`, `#5 0.123 output`, `#5 DONE 0.3s`.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use plimsoll_progress::{Event, Status};

use super::trace::{Trace, amount};
use super::{Renderer, resources};

/// How long a task that has something to say waits for the one that is speaking.
const PATIENCE: Duration = Duration::from_secs(1);
/// Time between two readings of one count that moves slowly; one that moves by more than a twentieth is told at once.
const READINGS: SignedDuration = SignedDuration::from_secs(5);

/// Draws lines; the lines of one task stay together as long as others can wait.
pub(super) struct Plain {
    out: Box<dyn Write + Send>,
    color: bool,
    trace: Trace,
    /// One per task of the trace.
    views: Vec<View>,
    /// The task whose lines are being written.
    current: Option<usize>,
    /// Tasks with lines to write, the longest waiting first.
    waiting: VecDeque<usize>,
    next_number: usize,
}

#[derive(Default)]
struct View {
    /// From 1, given when its first line is written.
    number: Option<usize>,
    lines: Vec<String>,
    since: Option<Instant>,
    has_begun: bool,
    has_ended: bool,
    /// What was told of each count: how far, and when.
    readings: Vec<(String, u64, Timestamp)>,
}

impl Plain {
    pub(super) fn new(out: Box<dyn Write + Send>, color: bool) -> Self {
        Self {
            out,
            color,
            trace: Trace::default(),
            views: Vec::new(),
            current: None,
            waiting: VecDeque::new(),
            next_number: 1,
        }
    }

    /// Writes what the task has to say, and its heading when another one spoke before.
    fn speak(&mut self, place: usize) -> io::Result<()> {
        let number = *self.views[place].number.get_or_insert_with(|| {
            self.next_number += 1;
            self.next_number - 1
        });
        let mut text = String::new();
        if self.current != Some(place) {
            if let Some(before) = self.current.and_then(|before| self.views[before].number) {
                text.push_str(&format!("#{before} ...\n"));
            }
            let gap = if number == 1 && self.next_number == 2 {
                ""
            } else {
                "\n"
            };
            text.push_str(&format!(
                "{gap}#{number} {}\n",
                self.trace.tasks[place].vertex.name
            ));
        }
        let view = &mut self.views[place];
        view.since = None;
        for line in view.lines.drain(..) {
            text.push_str(&format!("#{number} {line}\n"));
        }
        self.current = (!view.has_ended).then_some(place);
        self.waiting.retain(|other| *other != place);
        self.out.write_all(text.as_bytes())
    }

    /// Lets the current task speak, then others: at once when nobody is speaking, else when they have waited.
    fn write(&mut self, now: Instant, patience: Duration) -> io::Result<()> {
        if let Some(current) = self.current
            && self.waiting.contains(&current)
        {
            self.speak(current)?;
        }
        while let Some(next) = self.waiting.front().copied() {
            let waited = self.views[next]
                .since
                .map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
            if self.current.is_some() && waited < patience {
                break;
            }
            self.speak(next)?;
        }
        Ok(())
    }

    /// Turns a change of the trace into lines.
    fn take(&mut self, event: Event) {
        let Some(change) = self.trace.update(event) else {
            return;
        };
        self.views.resize_with(self.trace.tasks.len(), View::default);
        let task = &self.trace.tasks[change.task];
        let view = &mut self.views[change.task];
        let mut lines: Vec<String> = Vec::new();
        lines.extend(change.status.and_then(|status| reading(view, &status)));
        lines.extend(
            change
                .lines
                .iter()
                .map(|(time, line)| format!("{:.3} {line}", task.seconds_until(*time))),
        );
        if let Some(completed) = task.vertex.completed
            && !view.has_ended
        {
            view.has_ended = true;
            lines.push(match &task.vertex.error {
                Some(error) => format!("ERROR: {error}"),
                None if task.vertex.cached => "CACHED".to_owned(),
                None => format!("DONE {:.1}s", task.seconds_until(completed)),
            });
        }
        let begins = task.vertex.started.is_some() && !view.has_begun;
        view.has_begun |= begins;
        if begins || !lines.is_empty() {
            view.lines.extend(lines);
            view.since.get_or_insert_with(Instant::now);
            if !self.waiting.contains(&change.task) {
                self.waiting.push_back(change.task);
            }
        }
    }
}

/// A count as a line, when it is time for one.
fn reading(view: &mut View, status: &Status) -> Option<String> {
    let told = (status.id.clone(), status.current, status.timestamp);
    match view.readings.iter_mut().find(|(id, ..)| *id == status.id) {
        Some((_, current, time)) if status.completed.is_none() => {
            let moved = status.current.saturating_sub(*current);
            let far = status.total > 0 && moved >= status.total.div_ceil(20);
            if !far && status.timestamp.duration_since(*time) < READINGS {
                return None;
            }
            (*current, *time) = (told.1, told.2);
        }
        Some(known) => *known = told,
        None => view.readings.push(told),
    }
    let amount = amount(status);
    let end = status.completed.unwrap_or(status.timestamp);
    let seconds = status
        .started
        .map_or(0.0, |started| end.duration_since(started).as_secs_f64());
    let time = if seconds > 0.01 {
        format!(" {seconds:.1}s")
    } else {
        String::new()
    };
    let done = if status.completed.is_some() { " done" } else { "" };
    Some(format!("{}{amount}{time}{done}", status.id))
}

impl Renderer for Plain {
    fn event(&mut self, event: Event) -> io::Result<()> {
        if let Event::Resource(resource) = event {
            let line = resources::plain(&resource);
            return match self.trace.resources.take(resource) {
                true => writeln!(self.out, "{line}"),
                false => Ok(()),
            };
        }
        self.take(event);
        self.write(Instant::now(), PATIENCE)
    }

    fn draw(&mut self, now: Instant) -> io::Result<()> {
        self.write(now, PATIENCE)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.write(Instant::now(), Duration::ZERO)?;
        self.out.write_all(self.trace.warnings(self.color).as_bytes())?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn a_count_that_moves_slowly_is_told_now_and_then() {
        let mut view = View::default();
        let mut told = |current, time| {
            let Event::Status(status) = fixture::status("a", "layer", current, 1000, time) else {
                unreachable!()
            };
            reading(&mut view, &status).is_some()
        };
        assert!(told(0, 0));
        assert!(!told(40, 1_000), "less than a twentieth");
        assert!(told(50, 2_000));
        assert!(!told(60, 6_000));
        assert!(told(60, 7_000), "five seconds later");
        assert!(told(1000, 7_100), "the end");
    }

    #[test]
    fn a_build_reads_as_buildkits() {
        let screen = fixture::Screen::default();
        let mut plain = Plain::new(Box::new(screen.clone()), false);
        fixture::build()
            .into_iter()
            .for_each(|event| plain.event(event).unwrap());
        plain.finish().unwrap();
        insta::assert_snapshot!(screen.take());
    }
}
