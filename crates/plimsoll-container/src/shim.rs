//! The supervisor of one container: the hidden role `plimsoll shim`.
//!
//! One thread for life (a current-thread loop, no `spawn_blocking`, no helper threads), because the runtime clones raw
//! and every exec and probe clones again. It holds an exclusive lock on `run/containers/<12 hex>/lock` for as long as
//! the container lives; that lock, and no pid, says that it is alive. The container's root is mounted in a mount
//! namespace of its own, so nothing is left mounted when it goes. Its descriptors: 0 is the control socket (then
//! /dev/null), 1 and 2 are `shim.log`, anything else its parent had open is closed.
//!
//! The program may run several times, as the restart policy says: namespace, address, ports and root stay, everything else
//! is made anew for each run. When it has ended for the last time the shim writes the last state, answers everybody who
//! waits, and lets attached clients read what is left. Then it becomes, by exec, `plimsoll shim reap ROOT RUN ID`, which may use the database: the address is
//! given back and a container made with `--rm` is removed.

mod health;
mod life;
mod names;
mod network;
mod output;
mod process;
mod proxy;
mod server;
mod spool;

pub(crate) use server::{SOCKET, short_path};

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use camino::Utf8PathBuf;
use plimsoll_network::{NameSockets, PublishedPort, Room};
use plimsoll_runtime::{Namespaces, OciRuntime};
use plimsoll_store::EventLog;
use tokio::task::JoinSet;

use crate::model::{Definition, NetworkMode, Paths, State, read_json};
use crate::protocol::{NetworkView, StartReply, StartRequest};
use crate::wire::{self, Sender};
use crate::{ContainerError, Result};
use plimsoll_diagnostics::chain;

/// How long output may still come after the program has ended, should another process hold its pipes.
const DRAIN: Duration = Duration::from_secs(2);

/// The role's entry, to be chosen at the top of `main`, before any thread.
pub fn shim_main() -> i32 {
    let mut arguments = std::env::args_os().skip(2);
    match arguments.next().as_deref().and_then(std::ffi::OsStr::to_str) {
        Some("reap") => crate::reap::main(&arguments.collect::<Vec<_>>()),
        Some("restore") => crate::reap::restore(&arguments.collect::<Vec<_>>()),
        Some("compress") => compress(arguments.next()),
        _ => shim_main_with(&|| Box::new(plimsoll_runtime::Engine::new())),
    }
}

/// `plimsoll shim compress FILE`: what a supervisor has done with a log file that is full.
fn compress(file: Option<std::ffi::OsString>) -> i32 {
    let Some(file) = file else { return 2 };
    match crate::log::compress(file.as_ref()) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("cannot compress {}: {error}", file.display());
            1
        }
    }
}

/// Makes the runtime of one run of the program.
type NewRuntime<'a> = &'a dyn Fn() -> Box<dyn OciRuntime>;

/// As [`shim_main`], with another runtime: for tests.
fn shim_main_with(runtime: NewRuntime<'_>) -> i32 {
    match prepare().and_then(|control| Ok((control, event_loop()?))) {
        Ok((control, event_loop)) => {
            let tasks = tokio::task::LocalSet::new();
            let after = tasks.block_on(&event_loop, control_loop(control, runtime));
            drop(event_loop);
            match after {
                Some(mut reaper) => {
                    eprintln!("cannot become the reaper: {}", reaper.exec());
                    1
                }
                None => 1,
            }
        }
        Err(error) => {
            eprintln!("cannot start: {error}");
            1
        }
    }
}

fn event_loop() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Leaves everything of the parent behind but the control socket.
fn prepare() -> io::Result<UnixStream> {
    for entry in std::fs::read_dir("/proc/self/fd")? {
        if let Some(number) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) {
            // Refused for those this process opened, which are not inherited: nothing to close then.
            drop(plimsoll_linux::inherited(number));
        }
    }
    let control = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    rustix::stdio::dup2_stdin(process::null()?)?;
    std::env::set_current_dir("/")?;
    // Zombies whose parents were the runtime's helpers come here.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(control.into())
}

/// Starts the container the request names, reports, supervises. Returns what to become afterwards.
async fn control_loop(control: UnixStream, runtime: NewRuntime<'_>) -> Option<Command> {
    let control = tokio_stream(control)
        .map_err(|error| eprintln!("no control socket: {error}"))
        .ok()?;
    let (sender, mut receiver) = wire::split(control);
    let (request, fds) = match receiver.message::<StartRequest>().await {
        Ok(Some((request, fds))) => match receiver.descriptors(fds, request.descriptors()).await {
            Ok(fds) => (request, fds),
            Err(error) => return refuse(&sender, &control_error(error)).await,
        },
        Ok(None) => return None,
        Err(error) => return refuse(&sender, &control_error(error)).await,
    };
    let mut reaper = reaper(&request);
    if let Err(error) = take_log(&request) {
        return refuse(&sender, &error).await;
    }
    let (start, lock) = match Start::new(request, fds) {
        Ok(start) => start,
        Err(error) => return refuse(&sender, &error).await,
    };
    let home = start.paths.home.clone();
    let supervised = supervise(start, runtime, &sender).await;
    // Without the lock the container may be started again or removed while clients still read.
    drop(lock);
    if let Some(mut finished) = supervised {
        if finished.keep {
            reaper.arg("keep");
        }
        while finished.clients.join_next().await.is_some() {}
    }
    // Whoever waited for it may have removed it: nothing is left to do then.
    home.exists().then_some(reaper)
}

/// From here on it speaks to the container's own log.
fn take_log(request: &StartRequest) -> Result<()> {
    let path = Paths::new(&request.root, &request.run, &request.id).shim_log();
    let open = || -> io::Result<()> {
        let log = File::create(&path)?;
        rustix::stdio::dup2_stdout(&log)?;
        Ok(rustix::stdio::dup2_stderr(&log)?)
    };
    open().map_err(ContainerError::file("make", &path))
}

async fn refuse(sender: &Sender, error: &ContainerError) -> Option<Command> {
    eprintln!("{}", chain(error));
    let reply = StartReply::Failed {
        code: error.exit_code(),
        message: chain(error),
    };
    let _ = sender.message(&reply, &[]).await;
    None
}

fn control_error(source: io::Error) -> ContainerError {
    ContainerError::Shim {
        id: "to be started".to_owned(),
        source,
    }
}

fn tokio_stream(stream: UnixStream) -> io::Result<tokio::net::UnixStream> {
    stream.set_nonblocking(true)?;
    tokio::net::UnixStream::from_std(stream)
}

fn reaper(request: &StartRequest) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg("shim")
        .arg("reap")
        .arg(&request.root)
        .arg(&request.run)
        .arg(&request.id);
    command
}

/// A container about to be started.
struct Start {
    definition: Definition,
    name: String,
    paths: Paths,
    events: EventLog,
    /// Where compiled filters of system calls are kept.
    filters: PathBuf,
    run: Utf8PathBuf,
    network: NetworkView,
    ports: Vec<PublishedPort>,
    sockets: Vec<(PublishedPort, OwnedFd)>,
    names: Option<NameSockets>,
    /// Of the network, if it was made for it.
    joined: Namespaces,
    client: Option<UnixStream>,
    /// Of whoever starts it: while it is open, the container is being started.
    held: Option<OwnedFd>,
}

impl Start {
    /// Reads what the request names, and takes the container's lock.
    fn new(request: StartRequest, fds: Vec<OwnedFd>) -> Result<(Self, File)> {
        let paths = Paths::new(&request.root, &request.run, &request.id);
        let definition: Definition =
            read_json(paths.definition().as_std_path())?.ok_or_else(|| ContainerError::NotFound {
                name: request.id.clone(),
                suggestion: None,
            })?;
        // An ordinary user's bridges are there; what has the host's network must be born in it.
        if !matches!(definition.network, NetworkMode::Host)
            && let Some(room) = Room::of(&request.run)
        {
            room.enter()?;
        }
        let mut fds = fds.into_iter();
        let held = if request.has_lock { fds.next() } else { None };
        let mut joined = Namespaces {
            network: if request.has_namespace { fds.next() } else { None },
            ..Namespaces::default()
        };
        definition
            .isolation
            .join(&request.root, &request.run, &mut joined)?;
        let client = if request.has_client {
            fds.next().map(UnixStream::from)
        } else {
            None
        };
        let names = match request.has_names {
            true => fds
                .next()
                .zip(fds.next())
                .map(|(udp, tcp)| NameSockets { udp, tcp }),
            false => None,
        };
        let sockets = request.ports.iter().cloned().zip(fds).collect();
        let lock = lock(&paths)?;
        Ok((
            Self {
                definition,
                name: request.name,
                filters: request.run.join("filters").into(),
                events: EventLog::of(&request.root),
                paths,
                run: request.run,
                network: request.network,
                ports: request.ports,
                sockets,
                names,
                joined,
                client,
                held,
            },
            lock,
        ))
    }
}

/// Waits for the lock: whoever only looks whether it is held holds it for a moment itself.
fn lock(paths: &Paths) -> Result<File> {
    let path = paths.lock();
    let open = || {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .read(true)
            .open(&path)?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)?;
        Ok(file)
    };
    open().map_err(ContainerError::file("lock", &path))
}

/// Runs the container from create to its last end. None when it could not be started.
async fn supervise(mut start: Start, runtime: NewRuntime<'_>, control: &Sender) -> Option<Finished> {
    let held = start.held.take();
    let (definition, paths) = (start.definition.clone(), start.paths.clone());
    let undo = (start.network.endpoints.clone(), start.ports.clone());
    // Before anybody can read that it runs: whoever connects at once is served when it does.
    let listener = server::listen(&paths);
    match life::begin(start, runtime) {
        Ok(life) => {
            drop(held);
            let warnings = life.warnings();
            let _ = control.message(&StartReply::Started { warnings }, &[]).await;
            Some(life.supervise(runtime, listener).await)
        }
        Err(error) => {
            network::unpublish(definition.instance, &undo.0, &undo.1);
            record_failure(&paths, &error);
            // Last: while it is there, something may be left of a run.
            let _ = std::fs::remove_dir_all(paths.runtime());
            drop(held);
            refuse(control, &error).await;
            None
        }
    }
}

/// What is left of a container that has ended.
struct Finished {
    /// Connections that are still read from.
    clients: JoinSet<()>,
    /// It stays, even with `--rm`: somebody is about to start it again.
    keep: bool,
}

fn record_failure(paths: &Paths, error: &ContainerError) {
    let recorded = paths.read_state().and_then(|state| {
        let state = State {
            pid: 0,
            exit_code: error.exit_code(),
            error: chain(error),
            endpoints: Vec::new(),
            ports: Vec::new(),
            ..state
        };
        paths.write_state(&state)
    });
    if let Err(error) = recorded {
        eprintln!("{}", chain(&error));
    }
}

#[cfg(test)]
mod tests;
