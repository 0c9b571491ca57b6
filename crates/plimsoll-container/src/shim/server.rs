//! The shim's socket: attach, exec, stop and the rest.
//!
//! Bound and connected through `/proc/self/fd/<directory>/shim.sock`, because a socket's path may have only 107 bytes
//! and a root directory may be longer.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use plimsoll_runtime::{ProcessSpec, RuntimeError, Stdio};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use super::output::Client;
use super::process::{Child, null};
use super::{Shim, chain};
use crate::model::Paths;
use crate::protocol::{Ended, Reply, Request};
use crate::wire::{self, Kind, Receiver, Sender};

/// The socket's name in the container's run-time folder.
pub(crate) const SOCKET: &str = "shim.sock";

/// Opens a directory and returns a short path to the socket in it, good while the descriptor is open.
pub(crate) fn short_path(paths: &Paths) -> io::Result<(OwnedFd, String)> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(paths.run.as_std_path(), flags, Mode::empty())?;
    let path = format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd());
    Ok((directory, path))
}

pub(super) fn listen(paths: &Paths) -> io::Result<UnixListener> {
    let (_directory, path) = short_path(paths)?;
    let _ = std::fs::remove_file(&path);
    UnixListener::bind(path)
}

/// Takes connections until it is dropped; each is served by a task of `connections`.
pub(super) async fn accept(shim: Rc<Shim>, listener: UnixListener, connections: Rc<RefCell<JoinSet<()>>>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let mut connections = connections.borrow_mut();
                while connections.try_join_next().is_some() {}
                connections.spawn_local(serve(shim.clone(), stream));
            }
            Err(error) => {
                // Out of descriptors, for example: it passes.
                eprintln!("cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(shim: Rc<Shim>, stream: UnixStream) {
    let (sender, mut receiver) = wire::split(stream);
    let own = rustix::process::geteuid();
    match receiver.peer_uid() {
        Ok(uid) if uid == 0 || uid == own.as_raw() => {}
        _ => return,
    }
    let request = tokio::select! {
        request = receiver.message::<Request>() => request,
        _ = shim.wait() => return,
    };
    let served = match request {
        Ok(Some((request, fds))) => answer(&shim, request, fds, &sender, &mut receiver).await,
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = served
        && !matches!(
            error.kind(),
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
        )
    {
        eprintln!("connection failed: {error}");
    }
}

async fn answer(
    shim: &Rc<Shim>,
    request: Request,
    fds: Vec<OwnedFd>,
    sender: &Sender,
    receiver: &mut Receiver,
) -> io::Result<()> {
    let reply = match request {
        Request::Attach => {
            let client = shim.output.subscribe();
            sender.message(&Reply::Done, &[]).await?;
            attach(shim, sender, receiver, &client).await;
            return Ok(());
        }
        Request::Exec(process) => return exec(shim, &process, fds, sender).await,
        Request::Resize { rows, columns } => match resize(shim, rows, columns) {
            Ok(()) => Reply::Done,
            Err(error) => Reply::Failed {
                code: 1,
                message: format!("cannot resize the terminal: {error}"),
            },
        },
        Request::Kill { signal } => match shim.kill(signal, false) {
            Ok(()) => Reply::Done,
            Err(error) => failed(&error),
        },
        Request::Stop { signal, timeout } => match stop(shim, signal, timeout).await {
            Ok(ended) => Reply::Exited(ended),
            Err(error) => failed(&error),
        },
        Request::Wait => {
            tokio::select! {
                ended = shim.wait() => Reply::Exited(ended),
                _ = receiver.next() => return Ok(()),
            }
        }
    };
    sender.message(&reply, &[]).await
}

fn failed(error: &RuntimeError) -> Reply {
    Reply::Failed {
        code: error.exit_code(),
        message: chain(error),
    }
}

fn resize(shim: &Shim, rows: u16, columns: u16) -> io::Result<()> {
    shim.console
        .as_ref()
        .map_or(Ok(()), |console| console.resize(rows, columns))
}

/// Asks the program to end, and after `timeout` seconds (None: for ever) makes it.
async fn stop(shim: &Shim, signal: i32, timeout: Option<u64>) -> Result<Ended, RuntimeError> {
    shim.stopping.set(true);
    shim.stop_requested.notify_waiters();
    if shim.ended.borrow().is_none() {
        shim.kill(signal, false)?;
    }
    let Some(seconds) = timeout else {
        return Ok(shim.wait().await);
    };
    if let Ok(ended) = tokio::time::timeout(Duration::from_secs(seconds), shim.wait()).await {
        return Ok(ended);
    }
    shim.kill(9, true)?;
    Ok(shim.wait().await)
}

/// Serves a client that was attached before the program started.
pub(super) async fn attached(shim: Rc<Shim>, stream: UnixStream, client: Rc<Client>) {
    let (sender, mut receiver) = wire::split(stream);
    attach(&shim, &sender, &mut receiver, &client).await;
}

/// Output to the client and input from it, until it goes or everything was sent.
async fn attach(shim: &Rc<Shim>, sender: &Sender, receiver: &mut Receiver, client: &Rc<Client>) {
    tokio::select! {
        _ = client.serve(sender) => {}
        () = take_input(shim, receiver) => {}
    }
    shim.output.unsubscribe(client);
}

/// Returns when the client has gone.
async fn take_input(shim: &Rc<Shim>, receiver: &mut Receiver) {
    while let Ok(Some(frame)) = receiver.next().await {
        match frame.kind {
            // A terminal has no end of input: its user types it.
            Kind::Stdin if frame.body.is_empty() && shim.console.is_none() => {
                shim.stdin.lock().await.take();
            }
            Kind::Stdin => {
                let mut stdin = shim.stdin.lock().await;
                if let Some(sink) = stdin.as_mut()
                    && sink.write(&frame.body).await.is_err()
                {
                    *stdin = None;
                }
            }
            Kind::Message => {
                if let Ok(Request::Resize { rows, columns }) = frame.message() {
                    let _ = resize(shim, rows, columns);
                }
            }
            _ => {}
        }
    }
}

/// Runs one more process with the client's own pipes, or with a terminal whose master the client gets.
async fn exec(shim: &Rc<Shim>, process: &ProcessSpec, fds: Vec<OwnedFd>, sender: &Sender) -> io::Result<()> {
    let (stdio, console) = exec_stdio(process.tty, fds)?;
    let started = shim.runtime.borrow_mut().exec(process, stdio);
    let child = match started {
        Ok(pid) => Child::new(pid)?,
        Err(error) => return sender.message(&failed(&error), &[]).await,
    };
    let told = match console {
        None => sender.message(&Reply::ExecStarted, &[]).await,
        Some(socket) => {
            let master = wire::receive_descriptor(socket.as_fd())?;
            sender.message(&Reply::ExecStarted, &[master.as_fd()]).await
        }
    };
    // A client that has gone does not take its process with it, but the shim still has to reap it.
    let exit = child.wait().await?;
    told?;
    let ended = Ended {
        exit_code: exit.code(),
        ..Ended::default()
    };
    sender.message(&Reply::Exited(ended), &[]).await
}

fn exec_stdio(tty: bool, fds: Vec<OwnedFd>) -> io::Result<(Stdio, Option<std::os::unix::net::UnixStream>)> {
    if tty {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_read_timeout(Some(Duration::from_secs(10)))?;
        return Ok((Stdio::Console(theirs.into()), Some(ours)));
    }
    let mut fds = fds.into_iter();
    let mut next = || fds.next().map_or_else(null, Ok);
    Ok((
        Stdio::Pipes {
            stdin: next()?,
            stdout: next()?,
            stderr: next()?,
        },
        None,
    ))
}
