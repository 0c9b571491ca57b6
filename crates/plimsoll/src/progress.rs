//! Drawing what goes on: one stream of events, several displays.
//!
//! ```ignore
//! let display = context.progress("Building", args.progress)?;
//! work(display.progress()).await?;
//! display.finish();
//! ```
//!
//! The work only puts events into a channel; a thread draws them. So a slow terminal never slows a build.

mod plain;
mod rawjson;
mod resources;
mod trace;
mod tty;

use std::collections::HashMap;
use std::io::{self, IsTerminal as _, Write};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use plimsoll_progress::{Event, Progress};

use crate::env;
pub(crate) use resources::DRY_RUN;
pub(crate) use trace::visible;

/// Time between two drawings.
const FRAME: Duration = Duration::from_millis(100);

/// `--progress`
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// `tty` when stderr is a terminal and `CI` is not set, else `plain`
    Auto,
    /// A tree that is redrawn in place
    Tty,
    /// Lines, in BuildKit's form
    Plain,
    /// BuildKit's status objects, one per line
    Rawjson,
    /// As `rawjson`
    Json,
    /// Nothing
    Quiet,
}

/// Where it is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outlet {
    Stdout,
    Stderr,
}

impl Outlet {
    pub(crate) fn is_terminal(self) -> bool {
        match self {
            Self::Stdout => io::stdout().is_terminal(),
            Self::Stderr => io::stderr().is_terminal(),
        }
    }

    pub(crate) fn open(self) -> Box<dyn Write + Send> {
        match self {
            Self::Stdout => Box::new(io::stdout()),
            Self::Stderr => Box::new(io::stderr()),
        }
    }
}

/// One way to draw.
trait Renderer: Send {
    /// Takes an event.
    fn event(&mut self, event: Event) -> io::Result<()>;
    /// Whether it shows the sizes of layers at the end.
    fn shows_sizes(&self) -> bool {
        false
    }
    /// Takes the sizes of layers by task, before the end.
    fn sizes(&mut self, _: HashMap<String, u64>) {}
    /// Draws; called about every [`FRAME`] and after the last event.
    fn draw(&mut self, now: Instant) -> io::Result<()>;
    /// Draws the last state.
    fn finish(&mut self) -> io::Result<()>;
}

enum Message {
    Event(Event),
    Sizes(HashMap<String, u64>),
    Finish,
}

/// A display that is being drawn; ends with [`Display::finish`] or when dropped.
pub(crate) struct Display {
    progress: Progress,
    /// None when nothing is drawn.
    drawing: Option<Drawing>,
}

struct Drawing {
    sender: Sender<Message>,
    thread: JoinHandle<()>,
    shows_sizes: bool,
}

impl Display {
    /// Starts drawing in the form `mode`; `verb` says what goes on: `Building`.
    pub(crate) fn start(outlet: Outlet, mode: Mode, verb: &'static str, color: bool) -> Self {
        let out = outlet.open();
        let mode = resolve(mode, outlet.is_terminal(), env::var(env::CI).is_some());
        let renderer: Box<dyn Renderer> = match mode {
            Mode::Quiet => {
                return Self {
                    progress: Progress::none(),
                    drawing: None,
                };
            }
            Mode::Tty => Box::new(tty::Tty::new(out, verb, color)),
            Mode::Rawjson | Mode::Json => Box::new(rawjson::RawJson::new(out)),
            Mode::Plain | Mode::Auto => Box::new(plain::Plain::new(out, color)),
        };
        Self::with(renderer)
    }

    fn with(renderer: Box<dyn Renderer>) -> Self {
        let (sender, receiver) = mpsc::channel();
        let shows_sizes = renderer.shows_sizes();
        let thread = std::thread::spawn(move || draw_all(renderer, &receiver));
        let events = sender.clone();
        let progress = Progress::new(move |event| {
            // A display that is gone has nothing to show any more.
            let _ = events.send(Message::Event(event));
        });
        Self {
            progress,
            drawing: Some(Drawing {
                sender,
                thread,
                shows_sizes,
            }),
        }
    }

    /// Where the work reports to.
    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Says what the layers take that tasks made, if that is to be shown at the end.
    pub(crate) fn sizes(&self, sizes: impl FnOnce() -> HashMap<String, u64>) {
        if let Some(drawing) = self.drawing.as_ref().filter(|drawing| drawing.shows_sizes) {
            let _ = drawing.sender.send(Message::Sizes(sizes()));
        }
    }

    /// Draws the last state and gives the terminal back.
    pub(crate) fn finish(self) {
        drop(self);
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        if let Some(drawing) = self.drawing.take() {
            let _ = drawing.sender.send(Message::Finish);
            let _ = drawing.thread.join();
        }
    }
}

fn resolve(mode: Mode, is_terminal: bool, in_ci: bool) -> Mode {
    match mode {
        Mode::Auto if is_terminal && !in_ci => Mode::Tty,
        Mode::Auto => Mode::Plain,
        other => other,
    }
}

/// Draws until told to finish. A stderr that cannot be written to is nothing to stop the work for.
fn draw_all(mut renderer: Box<dyn Renderer>, receiver: &mpsc::Receiver<Message>) {
    let mut next = Instant::now() + FRAME;
    loop {
        match receiver.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(Message::Event(event)) => drop(renderer.event(event)),
            Ok(Message::Sizes(sizes)) => renderer.sizes(sizes),
            Ok(Message::Finish) | Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        let now = Instant::now();
        if now >= next {
            let _ = renderer.draw(now);
            next = now + FRAME;
        }
    }
    let _ = renderer.finish();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_is_plain_in_ci_and_in_pipes() {
        assert_eq!(resolve(Mode::Auto, true, false), Mode::Tty);
        assert_eq!(resolve(Mode::Auto, true, true), Mode::Plain);
        assert_eq!(resolve(Mode::Auto, false, false), Mode::Plain);
        assert_eq!(resolve(Mode::Tty, false, true), Mode::Tty);
    }
}

#[cfg(test)]
mod fixture {
    //! Events with fixed times.

    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use jiff::{SignedDuration, Timestamp};
    use plimsoll_progress::{Event, Log, Status, Vertex};

    pub(super) fn at(milliseconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_millis(milliseconds)
    }

    pub(super) fn vertex(digest: &str, name: &str, started: Option<i64>, completed: Option<i64>) -> Vertex {
        Vertex {
            digest: digest.to_owned(),
            inputs: Vec::new(),
            name: name.to_owned(),
            started: started.map(at),
            completed: completed.map(at),
            cached: false,
            error: None,
        }
    }

    pub(super) fn log(vertex: &str, text: &str, time: i64) -> Event {
        Event::Log(Log {
            vertex: vertex.to_owned(),
            stream: 1,
            data: text.as_bytes().to_vec(),
            timestamp: at(time),
        })
    }

    pub(super) fn status(vertex: &str, id: &str, current: u64, total: u64, time: i64) -> Event {
        let completed = (current == total).then(|| at(time));
        Event::Status(Status {
            id: id.to_owned(),
            vertex: vertex.to_owned(),
            current,
            total,
            timestamp: at(time),
            started: Some(at(0)),
            completed,
        })
    }

    /// A small build: a pull, two stages at once, a cached step and a failure.
    pub(super) fn build() -> Vec<Event> {
        let mut cached = vertex("c", "[stage-1 2/3] COPY . .", Some(500), Some(500));
        cached.cached = true;
        let mut failed = vertex("d", "[stage-1 3/3] RUN false", Some(600), Some(900));
        failed.error = Some("exit code: 1".to_owned());
        vec![
            Event::Vertex(vertex("a", "[builder 1/2] FROM busybox", None, None)),
            Event::Vertex(vertex("b", "[builder 2/2] RUN make", None, None)),
            Event::Vertex(vertex("a", "[builder 1/2] FROM busybox", Some(0), None)),
            status("a", "sha256:0123", 1_500_000, 2_000_000, 100),
            status("a", "sha256:0123", 2_000_000, 2_000_000, 200),
            Event::Vertex(vertex("a", "[builder 1/2] FROM busybox", Some(0), Some(250))),
            Event::Vertex(vertex("b", "[builder 2/2] RUN make", Some(300), None)),
            log("b", "compiling\nlink", 400),
            Event::Vertex(cached),
            log("b", "ing\n", 450),
            Event::Vertex(vertex("d", "[stage-1 3/3] RUN false", Some(600), None)),
            log("d", "about to fail\n", 700),
            Event::Vertex(vertex("b", "[builder 2/2] RUN make", Some(300), Some(800))),
            Event::Vertex(failed),
        ]
    }

    /// Something to write to that can be read afterwards.
    #[derive(Clone, Default)]
    pub(super) struct Screen(Arc<Mutex<Vec<u8>>>);

    impl Screen {
        pub(super) fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
        }
    }

    impl Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
