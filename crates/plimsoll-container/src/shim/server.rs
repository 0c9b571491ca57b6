//! The shim's socket: attach, exec, stop and the rest.
//!
//! Bound and connected through `/proc/self/fd/<directory>/shim.sock`, because a socket's path may have only 107 bytes
//! and a root directory may be longer.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use plimsoll_network::NameSockets;
use plimsoll_runtime::{ProcessSpec, RuntimeError, Stdio};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use super::chain;
use super::life::Shim;
use super::output::Client;
use super::process::{Child, Console, null};
use crate::log::Snapshot;
use crate::model::{Paths, Status};
use crate::protocol::{Ended, Reply, Request};
use crate::wire::{self, Kind, Receiver, Sender};

/// How long a client may take to remove its container.
const REMOVAL: Duration = Duration::from_secs(10);

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
        // First: what is asked while the last end is written down would wait for another one.
        biased;
        _ = shim.wait_over() => return,
        request = receiver.message::<Request>() => request,
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
        Request::Attach => return attach_later(shim, sender, receiver).await,
        Request::Exec(process) => return exec(shim, &process, fds, sender, receiver).await,
        Request::Resize { rows, columns } => resize(shim, rows, columns),
        Request::Kill { signal } => kill(shim, signal),
        Request::Stop {
            signal,
            timeout,
            keep,
        } => match stop(shim, signal, timeout, keep).await {
            Ok(ended) => Reply::Exited(ended),
            Err(error) => failed(&error),
        },
        Request::Pause => freeze(shim, true),
        Request::Unpause => freeze(shim, false),
        Request::Update { resources } => match shim.runtime.borrow_mut().update(&resources) {
            Ok(warnings) => Reply::Updated { warnings },
            Err(error) => failed(&error),
        },
        Request::Reload => done(shim.reload()),
        Request::Rename { name } => {
            shim.rename(name);
            Reply::Done
        }
        Request::Namespace => return lend_namespace(shim, sender).await,
        Request::Network { view, sockets } => {
            let mut fds = fds.into_iter().take(if sockets { 2 } else { 0 });
            let names = fds.next().zip(fds.next());
            let names = names.map(|(udp, tcp)| NameSockets { udp, tcp });
            done(shim.network.change(shim, view, names))
        }
        Request::LendPorts => return lend_ports(shim, sender).await,
        Request::TakePorts { ports } => {
            let fds = receiver.descriptors(fds, ports.len()).await?;
            done(shim.network.take(shim, ports, fds))
        }
        Request::LeavePorts { ports } => {
            shim.network.leave(shim, &ports).await;
            Reply::Done
        }
        Request::Logs { follow } => return logs(shim, follow, sender, receiver).await,
        Request::Wait => {
            tokio::select! {
                ended = shim.wait() => Reply::Exited(ended),
                _ = receiver.next() => return Ok(()),
            }
        }
    };
    sender.message(&reply, &[]).await
}

/// Attaches a client to a program that runs.
async fn attach_later(shim: &Rc<Shim>, sender: &Sender, receiver: &mut Receiver) -> io::Result<()> {
    let why_not = if shim.is_restarting() {
        Some("You cannot attach to a restarting container, wait until it is running")
    } else if is_paused(shim) {
        Some("You cannot attach to a paused container, unpause it first")
    } else {
        None
    };
    if let Some(message) = why_not {
        return sender.message(&refused(message), &[]).await;
    }
    let client = shim.output.subscribe();
    let told = sender.message(&Reply::Done, &[]).await;
    match told {
        Ok(()) => attach(shim, sender, receiver, &client).await,
        // It has gone: output that nobody takes must not be kept for it.
        Err(_) => shim.output.unsubscribe(&client),
    }
    told
}

async fn lend_namespace(shim: &Shim, sender: &Sender) -> io::Result<()> {
    match super::network::namespace(shim) {
        Ok(namespace) => sender.message(&Reply::Done, &[namespace.as_fd()]).await,
        Err(error) => {
            let reply = refused(&format!("cannot open the network namespace: {error}"));
            sender.message(&reply, &[]).await
        }
    }
}

async fn lend_ports(shim: &Shim, sender: &Sender) -> io::Result<()> {
    let (ports, sockets): (Vec<_>, Vec<_>) = shim.network.lend().into_iter().unzip();
    let fds: Vec<_> = sockets.iter().map(|socket| socket.as_fd()).collect();
    sender.message(&Reply::Ports { ports }, &fds).await
}

fn done(result: crate::Result<()>) -> Reply {
    match result {
        Ok(()) => Reply::Done,
        Err(error) => refused(&chain(&error)),
    }
}

fn failed(error: &RuntimeError) -> Reply {
    Reply::Failed {
        code: error.exit_code(),
        message: chain(error),
    }
}

fn refused(message: &str) -> Reply {
    Reply::Failed {
        code: 1,
        message: message.to_owned(),
    }
}

fn resize(shim: &Shim, rows: u16, columns: u16) -> Reply {
    let console = shim.console.borrow().clone();
    match console.map_or(Ok(()), |console| console.resize(rows, columns)) {
        Ok(()) => Reply::Done,
        Err(error) => refused(&format!("cannot resize the terminal: {error}")),
    }
}

/// Signals the program. SIGKILL and its own stop signal mean that it is to stay ended.
fn kill(shim: &Shim, signal: i32) -> Reply {
    let id = shim.definition().id.clone();
    if shim.is_restarting() {
        return refused(&format!("container {id} is not running"));
    }
    if let Err(error) = shim.kill(signal, false) {
        return failed(&error);
    }
    shim.event("kill", [("signal", signal.to_string())]);
    if signal == 9 || signal == shim.definition().stop_signal.number {
        shim.will_stop(false);
        thaw(shim);
    }
    Reply::Done
}

/// Ends the container: the program if it runs, and the wait for its next start.
async fn stop(shim: &Shim, signal: i32, timeout: Option<u64>, keep: bool) -> Result<Ended, RuntimeError> {
    let waits = shim.is_restarting();
    shim.will_stop(keep);
    if waits {
        return Ok(shim.wait_over().await);
    }
    let ended = shim.terminate(signal, timeout).await?;
    shim.event("stop", []);
    Ok(ended)
}

fn is_paused(shim: &Shim) -> bool {
    shim.state.borrow().status == Status::Paused
}

/// Freezes or thaws the processes, and answers when all of them are.
fn freeze(shim: &Shim, frozen: bool) -> Reply {
    let definition = shim.definition();
    let id = &definition.id;
    let status = shim.state.borrow().status;
    match (status, frozen) {
        (Status::Running, true) | (Status::Paused, false) => {}
        (Status::Paused, true) => return refused(&format!("Container {id} is already paused")),
        (Status::Restarting, _) => {
            return refused(&format!(
                "Container {id} is restarting, wait until the container is running"
            ));
        }
        _ => return refused(&format!("Container {id} is not paused")),
    }
    if let Err(error) = shim.runtime.borrow_mut().freeze(frozen) {
        return failed(&error);
    }
    shim.update(|state| {
        state.status = if frozen { Status::Paused } else { Status::Running };
    });
    shim.event(if frozen { "pause" } else { "unpause" }, []);
    Reply::Done
}

/// A program that was asked to end while it is frozen has to be able to.
pub(super) fn thaw(shim: &Shim) {
    if !is_paused(shim) {
        return;
    }
    let thawed = shim.runtime.borrow_mut().freeze(false);
    match thawed {
        Ok(()) => shim.update(|state| state.status = Status::Running),
        Err(error) => eprintln!("cannot thaw: {}", chain(&error)),
    }
}

/// Hands out the log's files, and what is added to the log from this moment on.
async fn logs(shim: &Shim, follow: bool, sender: &Sender, receiver: &mut Receiver) -> io::Result<()> {
    let (snapshot, follower) = match shim.output.read_log(follow) {
        Ok(Some(read)) => read,
        Ok(None) => return sender.message(&Reply::NoLog, &[]).await,
        Err(error) => {
            return sender
                .message(&refused(&format!("cannot open the log: {error}")), &[])
                .await;
        }
    };
    let Snapshot {
        format,
        files,
        waiting,
    } = snapshot;
    let reply = Reply::Logs {
        format,
        files: files.iter().map(|file| (file.length, file.packed)).collect(),
        dropped: shim.output.dropped(),
    };
    let fds: Vec<_> = files.iter().map(|file| file.file.as_fd()).collect();
    let sent = async {
        sender.message(&reply, &fds).await?;
        if !waiting.is_empty() {
            sender.bytes(Kind::Log, &waiting).await?;
        }
        Ok(())
    };
    let sent = sent.await;
    let Some(follower) = follower else { return sent };
    if sent.is_ok() {
        tokio::select! {
            _ = follower.serve(sender) => {}
            // Nothing is expected: the client has gone.
            _ = receiver.next() => {}
        }
    }
    shim.output.unsubscribe(&follower);
    sent
}

/// Serves a client that was attached before the program started.
pub(super) async fn attached(shim: Rc<Shim>, stream: UnixStream, client: Rc<Client>) {
    let (sender, mut receiver) = wire::split(stream);
    attach(&shim, &sender, &mut receiver, &client).await;
    if shim.definition().auto_remove && shim.has_ended() {
        // It is about to remove the container itself; where it does not, that is done when it has gone.
        let gone = async { while let Ok(Some(_)) = receiver.next().await {} };
        let _ = tokio::time::timeout(REMOVAL, gone).await;
    }
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
            Kind::Stdin if frame.body.is_empty() && shim.console.borrow().is_none() => {
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
                    // Nobody waits for the answer.
                    let _ = resize(shim, rows, columns);
                }
            }
            _ => {}
        }
    }
}

/// Runs one more process with the client's own pipes, or with a terminal whose master the client gets.
async fn exec(
    shim: &Rc<Shim>,
    process: &ProcessSpec,
    fds: Vec<OwnedFd>,
    sender: &Sender,
    receiver: &mut Receiver,
) -> io::Result<()> {
    if let Some(reply) = not_for_exec(shim) {
        return sender.message(&reply, &[]).await;
    }
    let command = process.args.join(" ");
    shim.event(&format!("exec_create: {command}"), []);
    let (stdio, console) = exec_stdio(process.tty, fds)?;
    shim.event(&format!("exec_start: {command}"), []);
    let started = shim.runtime.borrow_mut().exec(process, stdio);
    let child = match started {
        Ok(pid) => Child::new(pid)?,
        Err(error) => return sender.message(&failed(&error), &[]).await,
    };
    let master = console
        .map(|socket| wire::receive_descriptor(socket.as_fd()))
        .transpose()?;
    let given: Vec<_> = master.iter().map(AsFd::as_fd).collect();
    let told = sender.message(&Reply::ExecStarted, &given).await;
    // A client that has gone does not take its process with it, but the shim still has to reap it.
    let exit = tokio::select! {
        exit = child.wait() => exit?,
        never = keep_terminal(master, receiver) => match never {},
    };
    shim.event("exec_die", [("exitCode", exit.code().to_string())]);
    told?;
    let ended = Ended {
        exit_code: exit.code(),
        ..Ended::default()
    };
    sender.message(&Reply::Exited(ended), &[]).await
}

/// With the last master of its terminal a process would be hung up. So this holds one, and takes what the process writes
/// when its user has left.
async fn keep_terminal(master: Option<OwnedFd>, receiver: &mut Receiver) -> Infallible {
    let Some(master) = master else {
        return std::future::pending().await;
    };
    while let Ok(Some(_)) = receiver.next().await {}
    let console = Console::new(master);
    if let Ok(console) = &console {
        let mut buffer = [0; 1024];
        while let Ok(1..) = console.read(&mut buffer).await {}
    }
    std::future::pending().await
}

/// Why no process can be started now.
fn not_for_exec(shim: &Shim) -> Option<Reply> {
    let name = shim.name();
    let state = shim.state.borrow().status;
    let message = match state {
        Status::Paused => format!("Container {name} is paused, unpause the container before exec"),
        Status::Restarting => {
            format!("Container {name} is restarting, wait until the container is running")
        }
        _ => return None,
    };
    Some(refused(&message))
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
