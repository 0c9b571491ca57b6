//! A foreground container: its output on ours, our input and signals to it.

use std::io::{self, Write};
use std::process::ExitCode;

use plimsoll_container::{Attachment, Container, Containers, Ended, Event, Input};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::containers::exit_byte;
use super::terminal::{self, DetachKeys, RawMode};
use crate::command_error::CommandError;
use crate::context::Context;

/// Signals that are passed on. Not those the terminal stops jobs with, nor SIGCHLD, SIGPIPE and SIGURG, which concern
/// this process.
const FORWARDED: [i32; 8] = [1, 2, 3, 10, 12, 14, 15, 18];

/// How a foreground command deals with the user.
pub(crate) struct Session {
    pub(crate) interactive: bool,
    pub(crate) tty: bool,
    pub(crate) keys: DetachKeys,
    /// Whether its output and its error output are shown.
    pub(crate) shown: (bool, bool),
    signals: Vec<(i32, Signal)>,
    resized: Signal,
}

/// How it ended.
pub(crate) enum Outcome {
    /// The program has.
    Exited(Ended),
    /// The user typed the detach keys.
    Detached,
    /// The supervisor has gone without a word.
    Lost,
}

impl Session {
    /// Begins to catch signals: before the container starts, so that none is lost.
    pub(crate) fn new(interactive: bool, tty: bool, forward: bool, keys: &str) -> Result<Self, CommandError> {
        let catch = |number| signal(SignalKind::from_raw(number));
        let wrong = |error| CommandError::internal("cannot catch signals", error);
        let mut signals = Vec::new();
        for number in FORWARDED.into_iter().filter(|_| forward) {
            signals.push((number, catch(number).map_err(wrong)?));
        }
        let resized = signal(SignalKind::window_change()).map_err(wrong)?;
        Ok(Self {
            interactive,
            tty,
            keys: DetachKeys::parse(keys)?,
            shown: (true, true),
            signals,
            resized,
        })
    }

    /// Runs until the program has ended or the user has left.
    pub(crate) async fn run(
        mut self,
        attachment: &mut Attachment,
        containers: &Containers,
        container: &Container,
    ) -> Result<Outcome, CommandError> {
        let raw = if self.tty && self.interactive {
            RawMode::enter().map_err(|error| CommandError::internal("cannot set up the terminal", error))?
        } else {
            None
        };
        let input = attachment.input();
        let outcome = tokio::select! {
            outcome = show(attachment, self.shown) => outcome,
            () = type_input(self.interactive, self.tty, &mut self.keys, input.clone()) => Ok(Outcome::Detached),
            () = follow_size(self.tty, &mut self.resized, &input) => Ok(Outcome::Lost),
            () = forward(&mut self.signals, containers, container) => Ok(Outcome::Lost),
        };
        drop(raw);
        outcome
    }
}

/// Prints output until the end. A reader that has gone stops the printing, not the container.
async fn show(attachment: &mut Attachment, shown: (bool, bool)) -> Result<Outcome, CommandError> {
    let (mut stdout_open, mut stderr_open) = shown;
    loop {
        match attachment.next().await? {
            Some(Event::Stdout(bytes)) if stdout_open => stdout_open = print(io::stdout, bytes).await?,
            Some(Event::Stderr(bytes)) if stderr_open => stderr_open = print(io::stderr, bytes).await?,
            Some(Event::Exited(ended)) => return Ok(Outcome::Exited(ended)),
            Some(_) => {}
            None => return Ok(Outcome::Lost),
        }
    }
}

/// Writes on another thread, so that a terminal that is stopped does not stop signals. False when nobody reads any more.
pub(crate) async fn print<W: Write + 'static>(stream: fn() -> W, bytes: Vec<u8>) -> io::Result<bool> {
    let write = move || {
        let mut stream = stream();
        stream.write_all(&bytes)?;
        stream.flush()
    };
    match tokio::task::spawn_blocking(write)
        .await
        .map_err(io::Error::other)?
    {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

/// Passes on what is typed; returns when the detach keys were.
async fn type_input(interactive: bool, tty: bool, keys: &mut DetachKeys, input: Input) {
    if !interactive {
        return std::future::pending().await;
    }
    let mut typed = terminal::input();
    while let Some(bytes) = typed.recv().await {
        let ended = bytes.is_empty();
        let (bytes, detach) = if tty { keys.filter(&bytes) } else { (bytes, false) };
        let sent = if ended {
            input.close().await
        } else {
            input.write(&bytes).await
        };
        if detach {
            return;
        }
        if ended || sent.is_err() {
            break;
        }
    }
    std::future::pending().await
}

async fn follow_size(tty: bool, resized: &mut Signal, input: &Input) {
    if !tty {
        return std::future::pending().await;
    }
    loop {
        if let Some((rows, columns)) = terminal::size() {
            let _ = input.resize(rows, columns).await;
        }
        resized.recv().await;
    }
}

async fn forward(signals: &mut [(i32, Signal)], containers: &Containers, container: &Container) {
    if signals.is_empty() {
        return std::future::pending().await;
    }
    loop {
        let number = any(signals).await;
        // Ended meanwhile: then the attachment says so.
        let _ = containers.kill(container, number).await;
    }
}

/// Waits for the first of several signals.
async fn any(signals: &mut [(i32, Signal)]) -> i32 {
    std::future::poll_fn(|task| {
        let caught = signals
            .iter_mut()
            .find_map(|(number, signal)| signal.poll_recv(task).is_ready().then_some(*number));
        caught.map_or(std::task::Poll::Pending, std::task::Poll::Ready)
    })
    .await
}

/// The end of `attach` and `exec` by the detach keys, in Docker's word and code.
pub(crate) fn escaped(context: &Context) -> Result<ExitCode, CommandError> {
    writeln!(context.stderr(), "read escape sequence")?;
    Ok(ExitCode::FAILURE)
}

/// Turns the end of a container into our exit code, with a word where the code alone would puzzle.
pub(crate) fn exit_code(context: &Context, container: &Container, outcome: &Outcome) -> ExitCode {
    match outcome {
        Outcome::Detached => ExitCode::SUCCESS,
        Outcome::Lost => {
            context.warn(format_args!(
                "the supervisor of container `{}` was killed, and the container with it",
                container.name
            ));
            ExitCode::from(137)
        }
        Outcome::Exited(ended) => {
            if ended.oom_killed {
                let limit = container
                    .definition
                    .spec
                    .resources
                    .memory
                    .and_then(|limit| u64::try_from(limit).ok());
                let limit = limit
                    .map(|bytes| format!(" of {} MiB", bytes >> 20))
                    .unwrap_or_default();
                context.warn(format_args!(
                    "container `{}` ran out of memory: the kernel killed a process of it at its limit{limit} (see `--memory`)",
                    container.name
                ));
            }
            if !ended.error.is_empty() {
                context.warn(&ended.error);
            }
            ExitCode::from(exit_byte(ended.exit_code))
        }
    }
}
