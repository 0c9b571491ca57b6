//! A tree that is redrawn in place, as BuildKit's.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use plimsoll_progress::{Event, Status};

use super::Renderer;
use super::trace::{Task, Trace};
use crate::env;
use crate::output::units::human_size;

/// Short commands leave no trace on the screen.
const SILENCE: Duration = Duration::from_millis(250);
/// Column where the seconds end at most.
const WIDEST: usize = 160;

/// Redraws in place. Each drawing is one write that leaves the cursor at the start of a line, so that the
/// terminal is in order whenever the program is killed.
pub(super) struct Tty {
    out: Box<dyn Write + Send>,
    color: bool,
    trace: Trace,
    began: Instant,
    began_at: Timestamp,
    /// Lines on the screen that the next drawing replaces.
    drawn: usize,
    has_changed: bool,
}

/// A line with its style and the seconds at its right end.
struct Line {
    text: String,
    seconds: Option<f64>,
    style: Style,
}

impl Tty {
    pub(super) fn new(out: Box<dyn Write + Send>, color: bool) -> Self {
        Self {
            out,
            color,
            trace: Trace::default(),
            began: Instant::now(),
            began_at: Timestamp::now(),
            drawn: 0,
            has_changed: false,
        }
    }

    fn redraw(&mut self, lines: &[Line], width: usize) -> io::Result<()> {
        let mut text = String::new();
        if self.drawn > 0 {
            let _ = write!(text, "\x1b[{}A", self.drawn);
        }
        // Without wrapping while drawing: a character wider than thought must not move the lines below.
        text.push_str("\r\x1b[?7l\x1b[J");
        for line in lines {
            text.push_str(&self.paint(line, width));
        }
        text.push_str("\x1b[?7h");
        self.drawn = lines.len();
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    fn paint(&self, line: &Line, width: usize) -> String {
        let style = if self.color { line.style } else { Style::new() };
        let right = line
            .seconds
            .map(|seconds| format!(" {seconds:.1}s"))
            .unwrap_or_default();
        let room = width.saturating_sub(right.len() + 1);
        let left = fit(&line.text, room);
        match right.is_empty() {
            true => format!("{style}{left}{style:#}\n"),
            false => format!("{style}{left:<room$}{right}{style:#}\n"),
        }
    }

    /// Everything there is to show, at the time `now`.
    fn lines(&self, now: Timestamp, is_over: bool) -> Vec<Line> {
        let begun: Vec<&Task> = self
            .trace
            .tasks
            .iter()
            .filter(|task| task.vertex.started.is_some())
            .collect();
        let ended = begun
            .iter()
            .filter(|task| task.vertex.completed.is_some())
            .count();
        let seconds = now.duration_since(self.began_at).as_secs_f64();
        let over = if is_over { " FINISHED" } else { "" };
        let total = self.trace.tasks.len();
        let mut lines = vec![Line {
            text: format!("[+] {seconds:.1}s ({ended}/{total}){over}"),
            seconds: None,
            style: Style::new(),
        }];
        begun
            .iter()
            .for_each(|task| lines.extend(task_lines(task, now, is_over)));
        lines
    }
}

/// A task: its name, what it counts, and what it said last while it runs.
fn task_lines(task: &Task, now: Timestamp, is_over: bool) -> Vec<Line> {
    let vertex = &task.vertex;
    let (mark, style) = match () {
        () if vertex.error.is_some() => ("ERROR ", AnsiColor::Red.on_default()),
        () if vertex.cached => ("CACHED ", AnsiColor::Blue.on_default()),
        () if vertex.completed.is_some() => ("", AnsiColor::Blue.on_default()),
        () if is_over => ("CANCELED ", AnsiColor::Yellow.on_default()),
        () => ("", Style::new()),
    };
    let seconds = task.seconds_until(vertex.completed.unwrap_or(now));
    let mut lines = vec![Line {
        text: format!(" => {mark}{}", vertex.name),
        seconds: Some(seconds),
        style,
    }];
    if !is_over && task.is_running() {
        lines.extend(task.statuses.iter().map(|status| status_line(status, now)));
        lines.extend(task.tail.iter().map(|(_, line)| Line {
            text: format!(" => => # {line}"),
            seconds: None,
            style: Style::new().dimmed(),
        }));
    }
    lines
}

fn status_line(status: &Status, now: Timestamp) -> Line {
    let amount = match (status.current, status.total) {
        (0, 0) => String::new(),
        (current, 0) => format!(" {}", human_size(current)),
        (current, total) => format!(" {} / {}", human_size(current), human_size(total)),
    };
    let end = status.completed.unwrap_or(now);
    let seconds = status
        .started
        .map(|started| end.duration_since(started).as_secs_f64().max(0.0));
    Line {
        text: format!(" => => {}{amount}", status.id),
        seconds,
        style: Style::new(),
    }
}

/// Cuts a line that is too long, and says so with an ellipsis.
fn fit(text: &str, room: usize) -> String {
    match text.chars().count() <= room {
        true => text.to_owned(),
        false => text.chars().take(room.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// Columns and rows of the terminal.
fn size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(std::io::stderr()) {
        Ok(size) if size.ws_col > 0 => (
            usize::from(size.ws_col).min(WIDEST),
            usize::from(size.ws_row).max(4),
        ),
        _ => (
            env::var(env::COLUMNS)
                .and_then(|columns| columns.parse().ok())
                .unwrap_or(100),
            24,
        ),
    }
}

/// The header and the last lines that fit; the whole is drawn at the end.
fn shorten(mut lines: Vec<Line>, rows: usize) -> Vec<Line> {
    let room = rows.saturating_sub(1);
    if lines.len() > room {
        lines.drain(1..=lines.len() - room);
    }
    lines
}

impl Renderer for Tty {
    fn event(&mut self, event: Event) -> io::Result<()> {
        self.trace.update(event);
        self.has_changed = true;
        Ok(())
    }

    fn draw(&mut self, now: Instant) -> io::Result<()> {
        let is_early = now.saturating_duration_since(self.began) < SILENCE;
        if is_early || self.trace.tasks.is_empty() {
            return Ok(());
        }
        let (width, rows) = size();
        let lines = shorten(self.lines(Timestamp::now(), false), rows);
        self.redraw(&lines, width)
    }

    fn finish(&mut self) -> io::Result<()> {
        if self.has_changed && !self.trace.tasks.is_empty() {
            let lines = self.lines(Timestamp::now(), true);
            self.redraw(&lines, size().0)?;
        }
        self.out.write_all(self.trace.warnings(self.color).as_bytes())?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    fn tty(screen: &fixture::Screen) -> Tty {
        Tty {
            began_at: fixture::at(0),
            ..Tty::new(Box::new(screen.clone()), false)
        }
    }

    #[test]
    fn running_tasks_show_counts_and_output() {
        let screen = fixture::Screen::default();
        let mut tty = tty(&screen);
        fixture::build()
            .into_iter()
            .take(12)
            .for_each(|event| tty.event(event).unwrap());
        let lines = tty.lines(fixture::at(750), false);
        tty.redraw(&lines, 60).unwrap();
        insta::assert_snapshot!(anstream::adapter::strip_str(&screen.take()).to_string());
    }

    #[test]
    fn the_next_drawing_replaces_the_last() {
        let screen = fixture::Screen::default();
        let mut tty = tty(&screen);
        fixture::build()
            .into_iter()
            .for_each(|event| tty.event(event).unwrap());
        let lines = tty.lines(fixture::at(750), true);
        tty.redraw(&lines, 40).unwrap();
        screen.take();
        tty.redraw(&lines, 40).unwrap();
        let text = screen.take();
        assert!(text.starts_with(&format!("\x1b[{}A\r", lines.len())), "{text:?}");
        insta::assert_snapshot!(anstream::adapter::strip_str(&text).to_string());
    }

    #[test]
    fn a_low_terminal_keeps_the_header_and_the_newest() {
        let line = |number: usize| Line {
            text: number.to_string(),
            seconds: None,
            style: Style::new(),
        };
        let kept: Vec<String> = shorten((0..20).map(line).collect(), 5)
            .into_iter()
            .map(|line| line.text)
            .collect();
        assert_eq!(kept, ["0", "17", "18", "19"]);
    }

    #[test]
    fn nothing_is_drawn_in_the_first_quarter_second() {
        let screen = fixture::Screen::default();
        let mut tty = tty(&screen);
        fixture::build()
            .into_iter()
            .take(4)
            .for_each(|event| tty.event(event).unwrap());
        tty.draw(Instant::now()).unwrap();
        assert_eq!(screen.take(), "");
        tty.draw(Instant::now() + SILENCE).unwrap();
        assert!(screen.take().contains("FROM busybox"));
    }
}
