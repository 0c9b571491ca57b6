//! The supervisor of one container: the hidden role `plimsoll shim`.
//!
//! One thread for life (a current-thread loop, no `spawn_blocking`, no helper threads), because the runtime clones raw
//! and every exec and probe clones again. It holds an exclusive lock on `run/containers/<12 hex>/lock` for as long as
//! the container lives; that lock, and no pid, says that it is alive. The container's root is mounted in a mount
//! namespace of its own, so nothing is left mounted when it goes. Its descriptors: 0 is the control socket (then
//! /dev/null), 1 and 2 are `shim.log`, anything else its parent had open is closed.
//!
//! When the program has ended the shim writes the last state, answers everybody who waits, and lets attached clients
//! read what is left. Then it becomes, by exec, `plimsoll shim reap ROOT RUN ID`, which may use the database: the address is
//! given back and a container made with `--rm` is removed.

mod health;
mod output;
mod process;
mod proxy;
mod server;
mod spool;

pub(crate) use server::short_path;

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;
use plimsoll_network::{Endpoint, PublishedPort};
use plimsoll_runtime::{Bundle, OciRuntime};
use tokio::sync::{Mutex, Notify, watch};
use tokio::task::JoinSet;

use crate::error::chain;
use crate::model::{Definition, Health, Paths, State, Status, read_json};
use crate::protocol::{Ended, StartReply, StartRequest};
use crate::wire::{self, Sender};
use crate::{ContainerError, Result};
use output::Output;
use process::{Child, Console, Ends, Sink, Source, Streams};

/// How long output may still come after the program has ended, should another process hold its pipes.
const DRAIN: Duration = Duration::from_secs(2);

/// The role's entry, to be chosen at the top of `main`, before any thread.
pub fn shim_main() -> i32 {
    let mut arguments = std::env::args_os().skip(2);
    if arguments.next().is_some_and(|word| word == "reap") {
        return crate::reap::main(&arguments.collect::<Vec<_>>());
    }
    shim_main_with(|| Box::new(plimsoll_runtime::Libcontainer::new()))
}

/// As [`shim_main`], with another runtime: for tests.
fn shim_main_with(runtime: impl FnOnce() -> Box<dyn OciRuntime>) -> i32 {
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
async fn control_loop(control: UnixStream, runtime: impl FnOnce() -> Box<dyn OciRuntime>) -> Option<Command> {
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
    let reaper = reaper(&request);
    let (start, lock) = match Start::new(request, fds) {
        Ok(start) => start,
        Err(error) => return refuse(&sender, &error).await,
    };
    let rootfs = match start.mount() {
        Ok(rootfs) => rootfs,
        Err(error) => return refuse(&sender, &error).await,
    };
    let supervised = supervise(start, runtime(), rootfs.clone(), &sender).await;
    if let Err(error) = rustix::mount::unmount(&rootfs, rustix::mount::UnmountFlags::DETACH) {
        eprintln!("cannot unmount the root: {error}");
    }
    // Without the lock the container may be started again or removed while clients still read.
    drop(lock);
    if let Some(mut clients) = supervised {
        while clients.join_next().await.is_some() {}
    }
    Some(reaper)
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
    paths: Paths,
    endpoint: Option<Endpoint>,
    ports: Vec<PublishedPort>,
    sockets: Vec<(PublishedPort, OwnedFd)>,
    namespace: Option<OwnedFd>,
    client: Option<UnixStream>,
}

impl Start {
    /// Reads what the request names, and takes the container's lock.
    fn new(request: StartRequest, fds: Vec<OwnedFd>) -> Result<(Self, File)> {
        let paths = Paths::new(&request.root, &request.run, &request.id);
        let definition =
            read_json(paths.definition().as_std_path())?.ok_or_else(|| ContainerError::NotFound {
                name: request.id.clone(),
                suggestion: None,
            })?;
        let mut fds = fds.into_iter();
        let namespace = if request.has_namespace { fds.next() } else { None };
        let client = if request.has_client {
            fds.next().map(UnixStream::from)
        } else {
            None
        };
        let served = request
            .sockets
            .iter()
            .filter_map(|at| request.ports.get(*at))
            .cloned();
        let sockets = served.zip(fds).collect();
        let lock = lock(&paths)?;
        let (endpoint, ports) = (request.endpoint, request.ports);
        Ok((
            Self {
                definition,
                paths,
                endpoint,
                ports,
                sockets,
                namespace,
                client,
            },
            lock,
        ))
    }

    /// Mounts the root in a mount namespace of this process's own.
    fn mount(&self) -> Result<PathBuf> {
        use rustix::mount::{MountPropagationFlags, mount_change};
        let target = self.paths.rootfs();
        let own_namespace = || -> io::Result<()> {
            std::fs::create_dir_all(&target)?;
            plimsoll_linux::unshare(plimsoll_linux::UnshareFlags::NEWNS)?;
            // What the host mounts later must not keep busy, what we mount must not be seen there.
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
            Ok(())
        };
        own_namespace().map_err(ContainerError::file("make a mount namespace for", &target))?;
        self.definition.rootfs.mount(target.as_std_path())?;
        Ok(target.into())
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

/// A running container, seen from its supervisor.
struct Shim {
    definition: Definition,
    paths: Paths,
    state: RefCell<State>,
    runtime: RefCell<Box<dyn OciRuntime>>,
    output: Output,
    stdin: Mutex<Option<Sink>>,
    console: Option<Rc<Console>>,
    ended: watch::Sender<Option<Ended>>,
    /// Set when somebody asked for the end, so that health probes stop.
    stopping: Cell<bool>,
    stop_requested: Notify,
}

/// Runs the container from create to its end. None when it could not be started; else the connections still open.
async fn supervise(
    start: Start,
    mut runtime: Box<dyn OciRuntime>,
    rootfs: PathBuf,
    control: &Sender,
) -> Option<JoinSet<()>> {
    let (definition, paths) = (start.definition.clone(), start.paths.clone());
    let undo = (start.endpoint.clone(), start.ports.clone());
    let running = match Running::start(start, &mut runtime, &rootfs) {
        Ok(running) => running,
        Err(error) => {
            if let Err(error) = runtime.delete() {
                eprintln!("cannot clean up: {}", chain(&error));
            }
            unpublish(&definition, undo.0.as_ref(), &undo.1);
            record_failure(&paths, &error);
            refuse(control, &error).await;
            return None;
        }
    };
    Some(running.supervise(runtime, control).await)
}

fn record_failure(paths: &Paths, error: &ContainerError) {
    let recorded = paths.read_state().and_then(|state| {
        let state = State {
            pid: 0,
            exit_code: error.exit_code(),
            error: chain(error),
            endpoint: None,
            ports: Vec::new(),
            ..state
        };
        paths.write_state(&state)
    });
    if let Err(error) = recorded {
        eprintln!("{}", chain(&error));
    }
}

fn unpublish(definition: &Definition, endpoint: Option<&Endpoint>, ports: &[PublishedPort]) {
    if let (Some(endpoint), false) = (endpoint, ports.is_empty())
        && let Err(error) = plimsoll_network::unpublish(definition.instance, std::slice::from_ref(endpoint), ports)
    {
        eprintln!("cannot take back published ports: {}", chain(&error));
    }
}

/// A container whose program was started a moment ago.
struct Running {
    start: Start,
    child: Child,
    streams: Streams,
    output: Output,
    state: State,
    client: Option<(tokio::net::UnixStream, Rc<output::Client>)>,
}

impl Running {
    fn start(mut start: Start, runtime: &mut Box<dyn OciRuntime>, rootfs: &std::path::Path) -> Result<Self> {
        let file = |operation| ContainerError::file(operation, start.paths.run.as_std_path());
        let definition = &start.definition;
        let output = Output::new(start.paths.log().as_std_path(), start.paths.home.as_std_path())
            .map_err(ContainerError::file("open", start.paths.log()))?;
        let (stdio, ends) =
            Ends::new(definition.spec.tty, definition.open_stdin).map_err(file("make pipes for"))?;
        let state_folder = start.paths.runtime();
        // What a shim that was killed has left there would look like a container that exists.
        let _ = std::fs::remove_dir_all(&state_folder);
        std::fs::create_dir_all(&state_folder).map_err(ContainerError::file("make", &state_folder))?;
        let pid = runtime.create(Bundle {
            spec: &definition.spec,
            rootfs,
            state: state_folder.as_std_path(),
            netns: start.namespace.as_ref(),
            stdio,
        })?;
        let child = Child::new(pid).map_err(file("watch the program of"))?;
        let streams = Streams::new(ends, definition.open_stdin).map_err(file("take the terminal of"))?;
        if let (Some(endpoint), false) = (&start.endpoint, start.ports.is_empty()) {
            plimsoll_network::publish(definition.instance, std::slice::from_ref(endpoint), &start.ports)?;
        }
        let client = match start.client.take() {
            Some(stream) => Some((
                tokio_stream(stream).map_err(file("attach to"))?,
                output.subscribe(),
            )),
            None => None,
        };
        runtime.start()?;
        let state = State {
            status: Status::Running,
            pid,
            started_at: Some(Timestamp::now()),
            health: definition.health.as_ref().map(|_| Health::default()),
            endpoint: start.endpoint.clone(),
            ports: start.ports.clone(),
            ..State::default()
        };
        start.paths.write_state(&state)?;
        Ok(Self {
            start,
            child,
            streams,
            output,
            state,
            client,
        })
    }

    /// Supervises until the program ends, and cleans up after it.
    async fn supervise(self, runtime: Box<dyn OciRuntime>, control: &Sender) -> JoinSet<()> {
        let Self {
            start,
            child,
            streams,
            output,
            state,
            client,
        } = self;
        let Streams {
            stdin,
            stdout,
            stderr,
            console,
        } = streams;
        let shim = Rc::new(Shim {
            definition: start.definition,
            paths: start.paths,
            state: RefCell::new(state),
            runtime: RefCell::new(runtime),
            output,
            stdin: Mutex::new(stdin),
            console,
            ended: watch::Sender::new(None),
            stopping: Cell::new(false),
            stop_requested: Notify::new(),
        });
        let mut pumps = JoinSet::new();
        pumps.spawn_local(shim.clone().pump(stdout, crate::LogStream::Stdout));
        if let Some(stderr) = stderr {
            pumps.spawn_local(shim.clone().pump(stderr, crate::LogStream::Stderr));
        }
        let mut services = JoinSet::new();
        if let Some(endpoint) = start.endpoint {
            proxy::serve(&mut services, endpoint.address.into(), start.sockets);
        }
        if shim.definition.health.is_some() {
            services.spawn_local(health::watch(shim.clone()));
        }
        let connections = Rc::new(RefCell::new(JoinSet::new()));
        if let Some((stream, client)) = client {
            connections
                .borrow_mut()
                .spawn_local(server::attached(shim.clone(), stream, client));
        }
        match server::listen(&shim.paths) {
            Ok(listener) => {
                services.spawn_local(server::accept(shim.clone(), listener, connections.clone()));
            }
            Err(error) => eprintln!("cannot listen: {error}"),
        }
        let _ = control.message(&StartReply::Started, &[]).await;

        let exit = child.wait().await;
        shim.finish(exit.map(plimsoll_runtime::Exit::code), pumps, services)
            .await;
        Rc::into_inner(connections)
            .map(RefCell::into_inner)
            .unwrap_or_default()
    }
}

impl Shim {
    /// Copies one stream until its end.
    async fn pump(self: Rc<Self>, mut source: Source, stream: crate::LogStream) {
        let mut buffer = vec![0; 32 << 10];
        loop {
            match source.read(&mut buffer).await {
                Ok(0) => return,
                Ok(count) => self.output.write(stream, &buffer[..count]),
                Err(error) => return eprintln!("cannot read the container's output: {error}"),
            }
        }
    }

    /// Changes the state and writes it down.
    fn update(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.borrow_mut();
        change(&mut state);
        if let Err(error) = self.paths.write_state(&state) {
            eprintln!("{}", chain(&error));
        }
    }

    async fn finish(&self, exit: io::Result<i32>, mut pumps: JoinSet<()>, mut services: JoinSet<()>) {
        services.shutdown().await;
        let drained = tokio::time::timeout(DRAIN, async { while pumps.join_next().await.is_some() {} }).await;
        if drained.is_err() {
            pumps.shutdown().await;
        }
        let mut error = String::new();
        let exit_code = exit.unwrap_or_else(|cause| {
            error = format!("cannot tell how the program ended: {cause}");
            255
        });
        let oom_killed = self.runtime.borrow().oom_killed();
        if let Err(cause) = self.runtime.borrow_mut().delete() {
            error = format!("cannot clean up: {}", chain(&cause));
        }
        let (endpoint, ports) = {
            let mut state = self.state.borrow_mut();
            (state.endpoint.take(), std::mem::take(&mut state.ports))
        };
        unpublish(&self.definition, endpoint.as_ref(), &ports);
        let ended = Ended {
            exit_code,
            oom_killed,
            error,
        };
        self.update(|state| {
            state.status = Status::Exited;
            state.pid = 0;
            state.exit_code = ended.exit_code;
            state.oom_killed = ended.oom_killed;
            state.error.clone_from(&ended.error);
            state.finished_at = Some(Timestamp::now());
        });
        let _ = std::fs::remove_file(self.paths.run.join(server::SOCKET));
        self.output.finish(&ended);
        self.ended.send_replace(Some(ended));
    }

    /// Waits for the end.
    async fn wait(&self) -> Ended {
        let mut ended = self.ended.subscribe();
        let seen = ended
            .wait_for(Option::is_some)
            .await
            .expect("the sender is in self");
        seen.clone().expect("waited for")
    }

    fn kill(&self, signal: i32, all: bool) -> Result<(), plimsoll_runtime::RuntimeError> {
        self.runtime.borrow_mut().kill(signal, all)
    }
}

#[cfg(test)]
mod tests;
