//! Talking to running containers through their shims.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use plimsoll_runtime::ProcessSpec;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::sync::Mutex;

use crate::containers::{Container, Containers};
use crate::log::LogReader;
use crate::model::Status;
use crate::protocol::{Ended, Reply, Request};
use crate::shim::short_path;
use crate::wire::{self, Kind, Receiver, Sender};
use crate::{ContainerError, Result};

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

    /// Sends a signal to the program.
    pub async fn kill(&self, container: &Container, signal: i32) -> Result<()> {
        match self.ask(container, &Request::Kill { signal }).await? {
            Reply::Done => Ok(()),
            other => Err(answered(other, container.short_id())),
        }
    }

    /// Asks the program to end, and kills it after `timeout` seconds (negative: never); None is the container's own
    /// time. Fine when it does not run.
    pub async fn stop(&self, container: &Container, signal: Option<i32>, timeout: Option<i64>) -> Result<()> {
        let definition = &container.definition;
        let timeout = timeout.map_or(Some(definition.stop_timeout), |seconds| {
            u64::try_from(seconds).ok()
        });
        let signal = signal.unwrap_or(definition.stop_signal.number);
        match self.ask(container, &Request::Stop { signal, timeout }).await {
            Ok(Reply::Exited(_)) | Err(ContainerError::NotRunning(_)) => Ok(()),
            Ok(other) => Err(answered(other, container.short_id())),
            Err(error) => Err(error),
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

    /// Opens a container's log; `tail` begins so many lines before its end.
    pub fn log(&self, container: &Container, tail: Option<usize>) -> Result<LogReader> {
        let path = self.paths(container.id()).log();
        LogReader::open(path.as_std_path(), tail).map_err(ContainerError::file("read", path))
    }

    /// Watches a container's files, so that following its log needs no polling.
    pub fn watch(&self, container: &Container) -> Result<Watch> {
        let paths = self.paths(container.id());
        Watch::new(&paths.home, paths.clone()).map_err(ContainerError::file("watch", &paths.home))
    }

    async fn ask(&self, container: &Container, request: &Request) -> Result<Reply> {
        let (_sender, mut receiver) = self.request(container, request, &[]).await?;
        Ok(message(&mut receiver, container.short_id()).await?.0)
    }

    async fn request(
        &self,
        container: &Container,
        request: &Request,
        fds: &[std::os::fd::BorrowedFd<'_>],
    ) -> Result<(Sender, Receiver)> {
        let broken = |source| ContainerError::Shim {
            id: container.short_id().to_owned(),
            source,
        };
        let connected = match short_path(&self.paths(container.id())) {
            Ok((_directory, path)) => UnixStream::connect(path).await,
            Err(error) => Err(error),
        };
        let stream = connected.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ContainerError::NotRunning(container.short_id().to_owned())
            }
            _ => broken(error),
        })?;
        let (sender, receiver) = wire::split(stream);
        sender.message(request, fds).await.map_err(broken)?;
        Ok((sender, receiver))
    }
}

async fn message<T: DeserializeOwned>(receiver: &mut Receiver, id: &str) -> Result<(T, Vec<OwnedFd>)> {
    let broken = |source| ContainerError::Shim {
        id: id.to_owned(),
        source,
    };
    match receiver.message().await {
        Ok(Some(message)) => Ok(message),
        // It ended between our question and its answer.
        Ok(None) => Err(ContainerError::NotRunning(id.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
            Err(ContainerError::NotRunning(id.to_owned()))
        }
        Err(error) => Err(broken(error)),
    }
}

fn answered(reply: Reply, id: &str) -> ContainerError {
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

/// Tells when a container's log or state has changed.
pub struct Watch {
    inotify: tokio::io::unix::AsyncFd<OwnedFd>,
    paths: crate::model::Paths,
}

impl Watch {
    fn new(home: &camino::Utf8Path, paths: crate::model::Paths) -> io::Result<Self> {
        use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
        let inotify = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        add_watch(
            &inotify,
            home.as_std_path(),
            WatchFlags::MODIFY | WatchFlags::MOVED_TO | WatchFlags::DELETE_SELF,
        )?;
        Ok(Self {
            inotify: wire::watched(inotify, tokio::io::Interest::READABLE)?,
            paths,
        })
    }

    /// Returns after a change, or after a second: a supervisor that is killed changes nothing.
    pub async fn changed(&self) -> io::Result<()> {
        let drain = async {
            loop {
                let mut ready = self.inotify.readable().await?;
                let mut buffer = [0; 4096];
                match rustix::io::read(self.inotify.get_ref(), &mut buffer) {
                    Ok(_) => return Ok(()),
                    Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
                    Err(error) => return Err(error.into()),
                }
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(1), drain)
            .await
            .unwrap_or(Ok(()))
    }

    /// Returns whether the container still runs. Ask before reading the log to its end for the last time.
    pub fn is_running(&self) -> bool {
        self.paths
            .read_state()
            .is_ok_and(|state| state.status == Status::Running)
            && self.paths.is_supervised()
    }
}
