//! Talking to running containers through their shims.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use plimsoll_runtime::ProcessSpec;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::sync::Mutex;

use crate::containers::{Container, Containers};
use crate::log::{LogFile, LogQuery, LogReader, log_files};
use crate::protocol::{Ended, Reply, Request};
use crate::shim::short_path;
use crate::wire::{self, Kind, Receiver, Sender};
use crate::{ContainerError, Result};

/// How long the kernel may take to end a program that got SIGKILL.
const END_OF_A_KILLED: Duration = Duration::from_secs(10);

/// How long a supervisor that does not answer any more may take to write down the end.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// Between two questions to one that does not answer.
const SOON: Duration = Duration::from_millis(20);

/// Standard input, output and error of a container, while it runs.
pub struct Attachment {
    receiver: Receiver,
    input: Input,
    id: String,
}

/// What comes over an [`Attachment`].
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// Output; everything when there is a terminal.
    Stdout(Vec<u8>),
    /// Error output.
    Stderr(Vec<u8>),
    /// The program has ended; nothing follows.
    Exited(Ended),
}

/// The writing side of an [`Attachment`].
#[derive(Clone)]
pub struct Input(Arc<Mutex<Sender>>);

impl Attachment {
    pub(crate) fn new(stream: UnixStream, id: &str) -> Self {
        let (sender, receiver) = wire::split(stream);
        Self {
            receiver,
            input: Input(Arc::new(Mutex::new(sender))),
            id: id[..12].to_owned(),
        }
    }

    /// Returns the writing side.
    pub fn input(&self) -> Input {
        self.input.clone()
    }

    /// Returns what comes next, or None when the supervisor has gone without a word.
    pub async fn next(&mut self) -> Result<Option<Event>> {
        let broken = |source| ContainerError::Shim {
            id: self.id.clone(),
            source,
        };
        let frame = match self.receiver.next().await {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
            Err(error) => return Err(broken(error)),
        };
        match frame.kind {
            Kind::Stdout => Ok(Some(Event::Stdout(frame.body))),
            Kind::Stderr => Ok(Some(Event::Stderr(frame.body))),
            _ => match frame.message::<Reply>().map_err(broken)? {
                Reply::Exited(ended) => Ok(Some(Event::Exited(ended))),
                Reply::Failed { code, message } => Err(ContainerError::Start { code, message }),
                other => Err(broken(unexpected(&other))),
            },
        }
    }
}

impl Input {
    /// Sends input to the program.
    pub async fn write(&self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.0.lock().await.bytes(Kind::Stdin, bytes).await
    }

    /// Tells the program that there is no more input.
    pub async fn close(&self) -> io::Result<()> {
        self.0.lock().await.bytes(Kind::Stdin, &[]).await
    }

    /// Tells the container's terminal how large the user's is.
    pub async fn resize(&self, rows: u16, columns: u16) -> io::Result<()> {
        self.0
            .lock()
            .await
            .message(&Request::Resize { rows, columns }, &[])
            .await
    }
}

/// A process that was started in a running container.
pub struct Exec {
    receiver: Receiver,
    /// Keeps the connection whole.
    _sender: Sender,
    /// Master of its terminal, if it has one.
    pub terminal: Option<OwnedFd>,
    id: String,
}

impl Exec {
    /// Waits for the process to end and returns its exit code.
    pub async fn wait(&mut self) -> Result<i32> {
        match message::<Reply>(&mut self.receiver, &self.id).await?.0 {
            Reply::Exited(ended) => Ok(ended.exit_code),
            other => Err(answered(other, &self.id)),
        }
    }
}

impl Containers {
    /// Attaches to a running container: output from now on.
    pub async fn attach(&self, container: &Container) -> Result<Attachment> {
        let (sender, mut receiver) = self.request(container, &Request::Attach, &[]).await?;
        match message::<Reply>(&mut receiver, container.short_id()).await?.0 {
            Reply::Done => {
                let input = Input(Arc::new(Mutex::new(sender)));
                Ok(Attachment {
                    receiver,
                    input,
                    id: container.short_id().to_owned(),
                })
            }
            other => Err(answered(other, container.short_id())),
        }
    }

    /// Runs a process in a running container. Without a terminal it gets `stdio`: input, output, error.
    ///
    /// Pass pipes, never a terminal of the host: a process in the container could type on it.
    pub async fn exec(&self, container: &Container, process: ProcessSpec, stdio: &[OwnedFd]) -> Result<Exec> {
        let fds: Vec<_> = stdio.iter().map(AsFd::as_fd).collect();
        let (sender, mut receiver) = self.request(container, &Request::Exec(process), &fds).await?;
        let (reply, fds) = message::<Reply>(&mut receiver, container.short_id()).await?;
        match reply {
            Reply::ExecStarted => Ok(Exec {
                receiver,
                _sender: sender,
                terminal: fds.into_iter().next(),
                id: container.short_id().to_owned(),
            }),
            other => Err(answered(other, container.short_id())),
        }
    }

    /// Sends a signal to the program. After SIGKILL it waits for the end, ten seconds at most, as Docker does.
    pub async fn kill(&self, container: &Container, signal: i32) -> Result<()> {
        self.tell(container, &Request::Kill { signal }).await?;
        if signal == 9 {
            // Also fine when it is gone altogether, as with `--rm`.
            let _ = tokio::time::timeout(END_OF_A_KILLED, self.wait(container)).await;
        }
        Ok(())
    }

    /// Asks the program to end, and kills it after `timeout` seconds (negative: never); None is the container's own
    /// time. Fine when it does not run.
    pub async fn stop(&self, container: &Container, signal: Option<i32>, timeout: Option<i64>) -> Result<()> {
        let definition = &container.definition;
        let timeout = timeout.map_or(Some(definition.grace()), |seconds| u64::try_from(seconds).ok());
        let signal = signal.unwrap_or(definition.stop_signal.number);
        self.end(container, signal, timeout, false).await
    }

    /// As [`Containers::stop`], for a container that is started again at once: `--rm` is not heeded.
    pub async fn stop_for_restart(
        &self,
        container: &Container,
        signal: Option<i32>,
        timeout: Option<i64>,
    ) -> Result<()> {
        let definition = &container.definition;
        let timeout = timeout.map_or(Some(definition.grace()), |seconds| u64::try_from(seconds).ok());
        let signal = signal.unwrap_or(definition.stop_signal.number);
        self.end(container, signal, timeout, true).await
    }

    async fn end(&self, container: &Container, signal: i32, timeout: Option<u64>, keep: bool) -> Result<()> {
        let request = Request::Stop {
            signal,
            timeout,
            keep,
        };
        let since = Instant::now();
        loop {
            match self.ask(container, &request).await {
                Ok(Reply::Exited(_)) => return Ok(()),
                Err(ContainerError::NotRunning(_)) if self.may_answer_soon(container, since).await? => {}
                Err(ContainerError::NotRunning(_)) => return self.stay_stopped(container),
                Ok(other) => return Err(answered(other, container.short_id())),
                Err(error) => return Err(error),
            }
        }
    }

    /// Why nobody answers: false when the container has ended, and that is written down. True, after a moment, when it was
    /// being started or is about to end.
    async fn may_answer_soon(&self, container: &Container, since: Instant) -> Result<bool> {
        let (this, id) = (self.clone(), container.id().to_owned());
        let is_alive = move || -> Result<bool> {
            let paths = this.paths(&id);
            // Whoever starts it holds the lock until it answers.
            drop(this.lock(&id)?);
            Ok(paths.is_supervised() && paths.read_state()?.status.is_alive())
        };
        let is_alive = tokio::task::spawn_blocking(is_alive).await;
        if !is_alive.map_err(|_| ContainerError::Interrupted)?? || since.elapsed() > LAST_WORDS {
            return Ok(false);
        }
        tokio::time::sleep(SOON).await;
        Ok(true)
    }

    /// Freezes all processes of a running container.
    pub async fn pause(&self, container: &Container) -> Result<()> {
        self.tell(container, &Request::Pause).await
    }

    /// Lets the processes of a paused container go on.
    pub async fn unpause(&self, container: &Container) -> Result<()> {
        self.tell(container, &Request::Unpause).await
    }

    pub(crate) async fn tell(&self, container: &Container, request: &Request) -> Result<()> {
        match self.ask(container, request).await? {
            Reply::Done => Ok(()),
            other => Err(answered(other, container.short_id())),
        }
    }

    /// Waits until the container has ended; returns how. At once when it does not run.
    pub async fn wait(&self, container: &Container) -> Result<Ended> {
        match self.ask(container, &Request::Wait).await {
            Ok(Reply::Exited(ended)) => Ok(ended),
            Ok(other) => Err(answered(other, container.short_id())),
            Err(ContainerError::NotRunning(_) | ContainerError::Shim { .. }) => {
                // It may be ending at this moment: the state is final when the supervisor has let go.
                self.settle(container).await?;
                let state = self.get(container.id())?.state;
                Ok(Ended {
                    exit_code: state.exit_code,
                    oom_killed: state.oom_killed,
                    error: state.error,
                })
            }
            Err(error) => Err(error),
        }
    }

    /// Waits until the supervisor has let go of everything, after the program has ended: then it can be removed.
    pub async fn settle(&self, container: &Container) -> Result<()> {
        let paths = self.paths(container.id());
        tokio::task::spawn_blocking(move || {
            paths
                .wait_unsupervised()
                .map_err(ContainerError::file("lock", paths.lock()))
        })
        .await
        .map_err(|_| ContainerError::Interrupted)?
    }

    /// Reads a container's log, with what is added to it when `query` asks for that. With it comes how many lines there
    /// was no room for. None when the log driver keeps nothing.
    pub async fn logs(&self, container: &Container, query: LogQuery) -> Result<Option<(LogReader, u64)>> {
        let since = Instant::now();
        loop {
            match self.live_log(container, query).await {
                // Its supervisor may end at any moment of that; it writes its last lines then.
                Err(ContainerError::NotRunning(_)) if self.may_answer_soon(container, since).await? => {}
                Err(ContainerError::NotRunning(_)) => return self.stored_log(container, query),
                log => return log,
            }
        }
    }

    /// The log as its supervisor has it.
    async fn live_log(&self, container: &Container, query: LogQuery) -> Result<Option<(LogReader, u64)>> {
        let request = Request::Logs { follow: query.follow };
        let (_sender, mut receiver) = self.request(container, &request, &[]).await?;
        let id = container.short_id();
        let (format, sizes, dropped, fds) = match message::<Reply>(&mut receiver, id).await? {
            (
                Reply::Logs {
                    format,
                    files,
                    dropped,
                },
                fds,
            ) => (format, files, dropped, fds),
            (Reply::NoLog, _) => return Ok(None),
            (other, _) => return Err(answered(other, id)),
        };
        let fds = receiver.descriptors(fds, sizes.len()).await;
        let files = fds
            .map_err(|source| lost(id, source))?
            .into_iter()
            .zip(sizes)
            .map(|(fd, (length, packed))| LogFile {
                file: fd.into(),
                length,
                packed,
            })
            .collect();
        let reader = LogReader::new(format, files, query.tail, Some(receiver), id);
        let reader = reader.map_err(|source| lost(id, source))?;
        Ok(Some((reader, dropped)))
    }

    /// The log of a container that does not run.
    fn stored_log(&self, container: &Container, query: LogQuery) -> Result<Option<(LogReader, u64)>> {
        let config = &container.definition.log;
        let (Some(format), Some(_)) = (config.format(), config.rotation()?) else {
            return Ok(None);
        };
        let path = self.paths(container.id()).log(format);
        let opened = log_files(path.as_std_path())
            .and_then(|files| LogReader::new(format, files, query.tail, None, container.short_id()));
        let reader = opened.map_err(ContainerError::file("read", &path))?;
        Ok(Some((reader, container.state.log_dropped)))
    }

    /// Asks for something that is only to be done. Descriptors may go with the question and come with the answer.
    pub(crate) async fn ask_with(
        &self,
        container: &Container,
        request: &Request,
        fds: &[std::os::fd::BorrowedFd<'_>],
    ) -> Result<(Reply, Vec<OwnedFd>)> {
        let (_sender, mut receiver) = self.request(container, request, fds).await?;
        match message(&mut receiver, container.short_id()).await? {
            (Reply::Done, fds) => Ok((Reply::Done, fds)),
            (other, _) => Err(answered(other, container.short_id())),
        }
    }

    /// Asks for published ports, which come with as many descriptors.
    pub(crate) async fn ask_for_fds(
        &self,
        container: &Container,
        request: &Request,
    ) -> Result<(Reply, Vec<OwnedFd>)> {
        let (_sender, mut receiver) = self.request(container, request, &[]).await?;
        let (reply, fds) = message(&mut receiver, container.short_id()).await?;
        let count = match &reply {
            Reply::Ports { ports } => ports.len(),
            _ => 0,
        };
        let fds = receiver.descriptors(fds, count).await;
        Ok((reply, fds.map_err(|source| lost(container.short_id(), source))?))
    }

    pub(crate) async fn ask(&self, container: &Container, request: &Request) -> Result<Reply> {
        let (_sender, mut receiver) = self.request(container, request, &[]).await?;
        Ok(message(&mut receiver, container.short_id()).await?.0)
    }

    async fn request(
        &self,
        container: &Container,
        request: &Request,
        fds: &[std::os::fd::BorrowedFd<'_>],
    ) -> Result<(Sender, Receiver)> {
        let id = container.short_id();
        let connected = match short_path(&self.paths(container.id())) {
            Ok((_directory, path)) => UnixStream::connect(path).await,
            Err(error) => Err(error),
        };
        let stream = connected.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ContainerError::NotRunning(id.to_owned())
            }
            _ => lost(id, error),
        })?;
        let (sender, receiver) = wire::split(stream);
        let sent = sender.message(request, fds).await;
        sent.map_err(|source| lost(id, source))?;
        Ok((sender, receiver))
    }
}

async fn message<T: DeserializeOwned>(receiver: &mut Receiver, id: &str) -> Result<(T, Vec<OwnedFd>)> {
    match receiver.message().await {
        Ok(Some(message)) => Ok(message),
        // It ended between our question and its answer.
        Ok(None) => Err(ContainerError::NotRunning(id.to_owned())),
        Err(error) => Err(lost(id, error)),
    }
}

/// Why a supervisor is not heard any more. One that has ended resets what is still asked of it, or waits in line.
fn lost(id: &str, source: io::Error) -> ContainerError {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    let id = id.to_owned();
    match source.kind() {
        BrokenPipe | ConnectionReset | UnexpectedEof => ContainerError::NotRunning(id),
        _ => ContainerError::Shim { id, source },
    }
}

pub(crate) fn answered(reply: Reply, id: &str) -> ContainerError {
    match reply {
        Reply::Failed { code, message } => ContainerError::Start { code, message },
        other => ContainerError::Shim {
            id: id.to_owned(),
            source: unexpected(&other),
        },
    }
}

fn unexpected(reply: &Reply) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("unexpected answer {reply:?}"))
}
