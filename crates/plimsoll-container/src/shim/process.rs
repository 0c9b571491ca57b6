//! Children of the shim and the descriptors that lead to them.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use plimsoll_runtime::{Exit, Stdio};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;

use crate::wire;

/// A child, waited for through a pidfd: no signal handler and no thread.
pub(super) struct Child(AsyncFd<OwnedFd>, Pid);

impl Child {
    pub(super) fn new(pid: i32) -> io::Result<Self> {
        let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
        let fd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
        Ok(Self(wire::watched(fd, Interest::READABLE)?, pid))
    }

    /// Waits for its end and reaps it.
    pub(super) async fn wait(&self) -> io::Result<Exit> {
        loop {
            let mut ready = self.0.readable().await?;
            let id = WaitId::PidFd(self.0.get_ref().as_fd());
            if let Some(status) = rustix::process::waitid(id, WaitIdOptions::EXITED | WaitIdOptions::NOHANG)?
            {
                return Ok(match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => Exit::Code(code),
                    (None, signal) => Exit::Signal(signal.unwrap_or(9)),
                });
            }
            ready.clear_ready();
        }
    }

    /// Kills it and what it has started, where it leads a group of its own. To be called before it was reaped: until then
    /// its number is nobody else's.
    pub(super) fn kill_group(&self) {
        if rustix::process::getpgid(Some(self.1)) == Ok(self.1) {
            let _ = rustix::process::kill_process_group(self.1, Signal::KILL);
        }
        let _ = rustix::process::pidfd_send_signal(self.0.get_ref(), Signal::KILL);
    }
}

/// Where output comes from.
pub(super) enum Source {
    Pipe(pipe::Receiver),
    Console(Rc<Console>),
}

impl Source {
    /// Reads some bytes; 0 at the end.
    pub(super) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Pipe(pipe) => pipe.read(buffer).await,
            Self::Console(console) => console.read(buffer).await,
        }
    }
}

/// Where input goes.
pub(super) enum Sink {
    Pipe(pipe::Sender),
    Console(Rc<Console>),
}

impl Sink {
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Pipe(pipe) => pipe.write_all(bytes).await,
            Self::Console(console) => console.write(bytes).await,
        }
    }
}

/// The master of a pseudo-terminal.
pub(super) struct Console(AsyncFd<OwnedFd>);

impl Console {
    pub(super) fn new(master: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&master, true)?;
        Ok(Self(wire::watched(
            master,
            Interest::READABLE | Interest::WRITABLE,
        )?))
    }

    pub(super) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self
            .0
            .async_io(Interest::READABLE, |fd| Ok(rustix::io::read(fd, &mut *buffer)?))
            .await;
        match read {
            // The kernel says EIO when nobody has the terminal open any more.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => Ok(0),
            read => read,
        }
    }

    async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let interest = Interest::WRITABLE;
            let written = self
                .0
                .async_io(interest, |fd| Ok(rustix::io::write(fd, bytes)?))
                .await?;
            bytes = &bytes[written..];
        }
        Ok(())
    }

    pub(super) fn resize(&self, rows: u16, columns: u16) -> io::Result<()> {
        let size = rustix::termios::Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        Ok(rustix::termios::tcsetwinsize(self.0.get_ref(), size)?)
    }
}

/// Both ends of what a new process reads and writes: the runtime takes one, the shim keeps the other.
pub(super) enum Ends {
    Pipes {
        stdin: Option<pipe::Sender>,
        stdout: pipe::Receiver,
        stderr: pipe::Receiver,
    },
    Console(UnixStream),
}

impl Ends {
    /// Makes pipes, or a socket on which the runtime sends the terminal's master. Without `stdin` it is /dev/null.
    pub(super) fn new(tty: bool, stdin: bool) -> io::Result<(Stdio, Self)> {
        if tty {
            let (ours, theirs) = UnixStream::pair()?;
            ours.set_read_timeout(Some(Duration::from_secs(10)))?;
            return Ok((Stdio::Console(theirs.into()), Self::Console(ours)));
        }
        let (stdout, stdout_end) = std::io::pipe()?;
        let (stderr, stderr_end) = std::io::pipe()?;
        let (stdin_end, stdin) = if stdin {
            let (reader, writer) = std::io::pipe()?;
            (
                OwnedFd::from(reader),
                Some(pipe::Sender::from_owned_fd(writer.into())?),
            )
        } else {
            (null()?, None)
        };
        let stdio = Stdio::Pipes {
            stdin: stdin_end,
            stdout: stdout_end.into(),
            stderr: stderr_end.into(),
        };
        let stdout = pipe::Receiver::from_owned_fd(stdout.into())?;
        let stderr = pipe::Receiver::from_owned_fd(stderr.into())?;
        Ok((
            stdio,
            Self::Pipes {
                stdin,
                stdout,
                stderr,
            },
        ))
    }
}

/// What the shim holds of a running container's standard streams.
pub(super) struct Streams {
    pub(super) stdin: Option<Sink>,
    pub(super) stdout: Source,
    pub(super) stderr: Option<Source>,
    pub(super) console: Option<Rc<Console>>,
}

impl Streams {
    /// Takes the master of a terminal once the runtime has made it.
    pub(super) fn new(ends: Ends, stdin_open: bool) -> io::Result<Self> {
        match ends {
            Ends::Pipes {
                stdin,
                stdout,
                stderr,
            } => Ok(Self {
                stdin: stdin.map(Sink::Pipe),
                stdout: Source::Pipe(stdout),
                stderr: Some(Source::Pipe(stderr)),
                console: None,
            }),
            Ends::Console(socket) => {
                let console = Rc::new(Console::new(wire::receive_descriptor(socket.as_fd())?)?);
                Ok(Self {
                    stdin: stdin_open.then(|| Sink::Console(console.clone())),
                    stdout: Source::Console(console.clone()),
                    stderr: None,
                    console: Some(console),
                })
            }
        }
    }
}

/// Collects what a process writes, up to a limit; the rest is read and dropped so that it does not block.
pub(super) async fn collect(
    mut pipe: pipe::Receiver,
    limit: usize,
    into: &RefCell<Vec<u8>>,
) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let count = pipe.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        let mut collected = into.borrow_mut();
        let room = limit.saturating_sub(collected.len()).min(count);
        collected.extend_from_slice(&buffer[..room]);
    }
}

pub(super) fn null() -> io::Result<OwnedFd> {
    Ok(std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")?
        .into())
}
