//! A tree that is redrawn in place, as BuildKit's.

mod colors;
mod frame;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use anstyle::Style;
use jiff::Timestamp;
use plimsoll_progress::Event;
use unicode_width::UnicodeWidthChar as _;

use super::Renderer;
use super::trace::Trace;
use crate::env;
use crate::output::units::human_size;
use colors::Colors;
use frame::{Line, View, frame};

/// Short commands leave no trace on the screen.
const SILENCE: Duration = Duration::from_millis(250);
/// Column where the seconds end at most.
const WIDEST: usize = 160;
/// Lines of output under a running step.
const TAIL: usize = 6;
/// Columns of a layer's size.
const SIZE: usize = 8;

/// Redraws in place.
///
/// Each drawing is one write that leaves the cursor at the start of a line and the terminal as it was, so that all is in
/// order whenever the program is killed. Lines are written over each other and their rests erased, rather than all
/// erased first, which would flicker.
pub(super) struct Tty {
    out: Box<dyn Write + Send>,
    verb: &'static str,
    colors: Colors,
    tail: usize,
    trace: Trace,
    sizes: HashMap<String, u64>,
    began: Instant,
    began_at: Timestamp,
    /// Columns of each line on the screen that the next drawing replaces.
    drawn: Vec<usize>,
}

impl Tty {
    pub(super) fn new(out: Box<dyn Write + Send>, verb: &'static str, color: bool) -> Self {
        let lines = env::var(env::BUILDKIT_TTY_LOG_LINES).and_then(|lines| lines.parse().ok());
        Self {
            out,
            verb,
            colors: match color {
                true => Colors::of(env::var(env::BUILDKIT_COLORS).as_deref()),
                false => Colors::none(),
            },
            tail: lines.unwrap_or(TAIL),
            trace: Trace::keeping(lines.unwrap_or(TAIL)),
            sizes: HashMap::new(),
            began: Instant::now(),
            began_at: Timestamp::now(),
            drawn: Vec::new(),
        }
    }

    fn lines(&self, now: Timestamp, rows: usize, is_over: bool) -> Vec<Line> {
        let view = View {
            now,
            began: self.began_at,
            verb: self.verb,
            colors: &self.colors,
            tail: self.tail,
            sizes: &self.sizes,
            is_over,
        };
        frame(&self.trace, &view, rows)
    }

    fn redraw(&mut self, lines: &[Line], width: usize) -> io::Result<()> {
        // A terminal that became narrower has wrapped what is there.
        let rows: usize = self
            .drawn
            .iter()
            .map(|columns| columns.div_ceil(width).max(1))
            .sum();
        let mut text = String::from("\r");
        if rows > 0 {
            let _ = write!(text, "\x1b[{rows}A");
        }
        // Without wrapping while drawing: a character wider than thought must not move the lines below.
        text.push_str("\x1b[?7l");
        self.drawn.clear();
        for line in lines {
            let (painted, columns) = paint(line, width, self.sizes.is_empty());
            let _ = writeln!(text, "{painted}\x1b[K");
            self.drawn.push(columns);
        }
        text.push_str("\x1b[?7h\x1b[J");
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

/// A line and how many columns it takes: one less than there are at most, since a full line wraps on some terminals.
fn paint(line: &Line, width: usize, without_sizes: bool) -> (String, usize) {
    let style = line.style;
    let reset = if style == Style::new() { "" } else { "\x1b[0m" };
    let size = match line.size {
        _ if without_sizes || line.seconds.is_none() => String::new(),
        size => format!(" {:>SIZE$}", size.map(human_size).unwrap_or_default()),
    };
    let seconds = line
        .seconds
        .map(|seconds| format!(" {seconds:>5.1}s"))
        .unwrap_or_default();
    let right = format!("{size}{seconds}");
    // On a terminal that has no room for both, the text is more use than the figures.
    let right = if right.len() + 12 > width {
        String::new()
    } else {
        right
    };
    let room = width.saturating_sub(right.len() + 1);
    let (left, columns) = fit(&line.text, room);
    let gap = if right.is_empty() { 0 } else { room - columns };
    let painted = format!("{style}{left}{:gap$}{right}{reset}", "");
    (painted, columns + gap + right.len())
}

/// Cuts a text to `room` columns, with an ellipsis where something is missing; returns the columns it takes. What would
/// move the cursor becomes a blank.
fn fit(text: &str, room: usize) -> (String, usize) {
    let letter = |letter: char| if letter.is_control() { ' ' } else { letter };
    let letters = || {
        text.chars()
            .map(letter)
            .map(|letter| (letter, letter.width().unwrap_or(0)))
    };
    let all: usize = letters().map(|(_, columns)| columns).sum();
    if all <= room {
        return (letters().map(|(letter, _)| letter).collect(), all);
    }
    let (mut kept, mut columns) = (String::new(), 0);
    for (letter, wide) in letters() {
        if columns + wide + 1 > room {
            break;
        }
        kept.push(letter);
        columns += wide;
    }
    if room > 0 {
        kept.push('…');
        columns += 1;
    }
    (kept, columns)
}

/// Columns and rows of the terminal.
fn size() -> (usize, usize) {
    use rustix::termios::tcgetwinsize;

    match tcgetwinsize(std::io::stderr()).or_else(|_| tcgetwinsize(std::io::stdout())) {
        Ok(size) if size.ws_col > 0 => (usize::from(size.ws_col), usize::from(size.ws_row).max(2)),
        _ => (
            env::var(env::COLUMNS)
                .and_then(|columns| columns.parse().ok())
                .unwrap_or(100),
            24,
        ),
    }
}

impl Renderer for Tty {
    fn event(&mut self, event: Event) -> io::Result<()> {
        self.trace.update(event);
        Ok(())
    }

    fn shows_sizes(&self) -> bool {
        true
    }

    fn sizes(&mut self, sizes: HashMap<String, u64>) {
        self.sizes = sizes;
    }

    fn draw(&mut self, now: Instant) -> io::Result<()> {
        let is_early = now.saturating_duration_since(self.began) < SILENCE;
        if is_early || self.trace.is_empty() {
            return Ok(());
        }
        let (width, rows) = size();
        // The last row is the cursor's.
        let lines = self.lines(Timestamp::now(), rows - 1, false);
        self.redraw(&lines, width.min(WIDEST))
    }

    fn finish(&mut self) -> io::Result<()> {
        if !self.trace.is_empty() {
            let lines = self.lines(Timestamp::now(), usize::MAX, true);
            self.redraw(&lines, size().0.min(WIDEST))?;
        }
        let color = self.colors != Colors::none();
        self.out.write_all(self.trace.warnings(color).as_bytes())?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests;
