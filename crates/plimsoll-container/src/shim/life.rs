//! The life of a container under its supervisor: its program runs, ends, and perhaps runs again.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use plimsoll_runtime::{Bundle, OciRuntime, RuntimeError};
use plimsoll_store::EventLog;
use tokio::net::UnixListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Mutex, Notify, watch};
use tokio::task::JoinSet;

use super::output::{Client, Output};
use super::process::{Child, Console, Ends, Sink, Source, Streams};
use super::{DRAIN, Finished, NewRuntime, Start, chain, health, network, server, tokio_stream};
use crate::events::Witness;
use crate::model::{Definition, Health, Paths, State, Status, read_json};
use crate::protocol::Ended;
use crate::restart::Backoff;
use crate::{ContainerError, LogStream, Result};

/// How long the health check may take to notice that the program has ended.
const GRACE: Duration = Duration::from_millis(500);

/// A container, seen from its supervisor.
pub(super) struct Shim {
    definition: RefCell<Rc<Definition>>,
    name: RefCell<String>,
    pub(super) paths: Paths,
    pub(super) network: network::Network,
    events: EventLog,
    pub(super) state: RefCell<State>,
    pub(super) runtime: RefCell<Box<dyn OciRuntime>>,
    pub(super) output: Rc<Output>,
    pub(super) stdin: Mutex<Option<Sink>>,
    pub(super) console: RefCell<Option<Rc<Console>>>,
    /// How the present run of the program ended: another channel for each run.
    ended: RefCell<watch::Sender<Option<Ended>>>,
    /// How the last one did.
    over: watch::Sender<Option<Ended>>,
    /// Somebody asked for the end: health probes stop, and nothing is started again.
    stopping: Cell<bool>,
    /// The program is to be started again whatever the policy says.
    again: Cell<bool>,
    /// Told when the program has ended, and when somebody asks for the end.
    pub(super) changed: Notify,
    /// Whether the program runs.
    running: Cell<bool>,
    /// `--rm` is not heeded.
    keep: Cell<bool>,
    /// Not somebody, but the machine asked for the end.
    suspended: Cell<bool>,
}

/// A container whose program was started a moment ago.
pub(super) struct Life {
    shim: Rc<Shim>,
    start: Start,
    run: Run,
    client: Option<(tokio::net::UnixStream, Rc<Client>)>,
}

/// One run of the program.
struct Run {
    child: Child,
    stdout: Source,
    stderr: Option<Source>,
}

/// Starts the program for the first time.
pub(super) fn begin(mut start: Start, new: NewRuntime<'_>) -> Result<Life> {
    let mut runtime = new();
    let begun = first_run(&mut start, &mut runtime);
    let (output, client, pid, child, streams) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            clean_up(&mut runtime);
            return Err(error);
        }
    };
    let definition = start.definition.clone();
    let state = State {
        status: Status::Running,
        pid,
        started_at: Some(Timestamp::now()),
        health: definition.health.as_ref().map(|_| Health::default()),
        endpoints: start.network.endpoints.clone(),
        ports: start.ports.clone(),
        ..State::default()
    };
    if let Err(error) = start.paths.write_state(&state) {
        clean_up(&mut runtime);
        return Err(error);
    }
    let shim = Rc::new(Shim {
        definition: RefCell::new(Rc::new(definition)),
        name: RefCell::new(start.name.clone()),
        paths: start.paths.clone(),
        network: network::Network::new(&start.run),
        events: start.events.clone(),
        state: RefCell::new(state),
        runtime: RefCell::new(runtime),
        output,
        stdin: Mutex::new(None),
        console: RefCell::new(None),
        ended: RefCell::new(watch::Sender::new(None)),
        over: watch::Sender::new(None),
        stopping: Cell::new(false),
        again: Cell::new(false),
        changed: Notify::new(),
        running: Cell::new(false),
        keep: Cell::new(false),
        suspended: Cell::new(false),
    });
    let run = shim.take_streams(child, streams);
    shim.began();
    Ok(Life {
        shim,
        start,
        run,
        client,
    })
}

type Begun = (
    Rc<Output>,
    Option<(tokio::net::UnixStream, Rc<Client>)>,
    i32,
    Child,
    Streams,
);

fn first_run(start: &mut Start, runtime: &mut Box<dyn OciRuntime>) -> Result<Begun> {
    let output = Rc::new(Output::new(&start.definition, &start.name, &start.paths)?);
    let (pid, child, streams) = create(start, &start.definition, runtime)?;
    plimsoll_network::publish(start.definition.instance, &start.network.endpoints, &start.ports)?;
    let client = match start.client.take() {
        Some(stream) => {
            let stream = tokio_stream(stream).map_err(about_run("attach to", &start.paths))?;
            Some((stream, output.subscribe()))
        }
        None => None,
    };
    runtime.start()?;
    Ok((output, client, pid, child, streams))
}

/// Makes the container up to the point before its program runs.
fn create(
    start: &Start,
    definition: &Definition,
    runtime: &mut Box<dyn OciRuntime>,
) -> Result<(i32, Child, Streams)> {
    let file = |operation| about_run(operation, &start.paths);
    let (stdio, ends) =
        Ends::new(definition.spec.tty, definition.open_stdin).map_err(file("make pipes for"))?;
    let state_folder = start.paths.runtime();
    // What a shim that was killed has left there would look like a container that exists.
    let _ = std::fs::remove_dir_all(&state_folder);
    std::fs::create_dir_all(&state_folder).map_err(ContainerError::file("make", &state_folder))?;
    let spec = definition.isolation.with_devices(&definition.spec)?;
    let pid = runtime.create(Bundle {
        spec: &spec,
        rootfs: &definition.rootfs,
        volatile: definition.auto_remove,
        state: state_folder.as_std_path(),
        filters: &start.filters,
        joined: &start.joined,
        stdio,
    })?;
    let child = Child::new(pid).map_err(file("watch the program of"))?;
    let streams = Streams::new(ends, definition.open_stdin).map_err(file("take the terminal of"))?;
    Ok((pid, child, streams))
}

fn about_run(operation: &'static str, paths: &Paths) -> impl FnOnce(io::Error) -> ContainerError {
    ContainerError::file(operation, paths.run.as_std_path())
}

fn clean_up(runtime: &mut Box<dyn OciRuntime>) {
    if let Err(error) = runtime.delete() {
        eprintln!("cannot clean up: {}", chain(&error));
    }
}

impl Life {
    /// What was asked for and could not be given.
    pub(super) fn warnings(&self) -> Vec<String> {
        self.shim.runtime.borrow().warnings().to_vec()
    }

    /// Supervises until the program has ended for the last time, and cleans up after it.
    pub(super) async fn supervise(
        self,
        new: NewRuntime<'_>,
        listener: std::io::Result<UnixListener>,
    ) -> Finished {
        let Self {
            shim,
            mut start,
            mut run,
            client,
        } = self;
        let mut services = JoinSet::new();
        shim.network.serve(
            &start.network,
            std::mem::take(&mut start.sockets),
            start.names.take(),
        );
        let connections = Rc::new(RefCell::new(JoinSet::new()));
        if let Some((stream, client)) = client {
            connections
                .borrow_mut()
                .spawn_local(server::attached(shim.clone(), stream, client));
        }
        match listener {
            Ok(listener) => {
                services.spawn_local(server::accept(shim.clone(), listener, connections.clone()));
            }
            Err(error) => eprintln!("cannot listen: {error}"),
        }
        match signal(SignalKind::terminate()) {
            Ok(asked) => {
                services.spawn_local(suspend(shim.clone(), asked));
            }
            Err(error) => eprintln!("cannot wait for SIGTERM: {error}"),
        }
        let mut backoff = Backoff::default();
        let ended = loop {
            let began = Instant::now();
            let ended = shim.run(run).await;
            let ran = began.elapsed();
            shim.died(&ended, ran);
            if !shim.is_to_run_again(&ended) {
                break ended;
            }
            match shim.run_again(&start, new, &ended, backoff.next(ran)).await {
                Ok(Some(next)) => run = next,
                Ok(None) => break ended,
                Err(error) => {
                    eprintln!("cannot start it again: {}", chain(&error));
                    break Ended {
                        exit_code: error.exit_code(),
                        error: chain(&error),
                        ..ended
                    };
                }
            }
        };
        services.shutdown().await;
        shim.network.stop().await;
        shim.finish(ended);
        Finished {
            keep: shim.keep.get(),
            clients: Rc::into_inner(connections)
                .map(RefCell::into_inner)
                .unwrap_or_default(),
        }
    }
}

impl Shim {
    /// What it is; another one after `update`.
    pub(super) fn definition(&self) -> Rc<Definition> {
        self.definition.borrow().clone()
    }

    /// Reads the definition again.
    pub(super) fn reload(&self) -> Result<()> {
        if let Some(definition) = read_json(self.paths.definition().as_std_path())? {
            self.definition.replace(Rc::new(definition));
        }
        Ok(())
    }

    /// Whether its program has ended for the last time.
    pub(super) fn has_ended(&self) -> bool {
        self.over.borrow().is_some()
    }

    /// What it is called.
    pub(super) fn name(&self) -> String {
        self.name.borrow().clone()
    }

    /// Takes another name.
    pub(super) fn rename(&self, name: String) {
        self.name.replace(name);
    }

    /// Writes down that something happened to it.
    pub(super) fn event<const N: usize>(&self, action: &str, more: [(&str, String); N]) {
        self.witness(|witness| witness.container(action, more));
    }

    fn witness(&self, what: impl FnOnce(&Witness<'_>)) {
        what(&Witness {
            log: &self.events,
            definition: &self.definition(),
            name: &self.name.borrow(),
        });
    }

    /// Writes down that its program was started, and all that it has to itself now.
    fn began(&self) {
        let endpoints = &self.state.borrow().endpoints;
        self.witness(|witness| {
            witness.settled_in(endpoints);
            witness.container("start", []);
        });
    }

    fn take_streams(&self, child: Child, streams: Streams) -> Run {
        let Streams {
            stdin,
            stdout,
            stderr,
            console,
        } = streams;
        *self.stdin.try_lock().expect("nobody is served between two runs") = stdin;
        self.console.replace(console);
        self.running.set(true);
        Run {
            child,
            stdout,
            stderr,
        }
    }

    /// Waits for the end of the program and clears away what was made for this run.
    async fn run(self: &Rc<Self>, run: Run) -> Ended {
        let mut pumps = JoinSet::new();
        pumps.spawn_local(self.clone().pump(run.stdout, LogStream::Stdout));
        if let Some(stderr) = run.stderr {
            pumps.spawn_local(self.clone().pump(stderr, LogStream::Stderr));
        }
        let mut probes = JoinSet::new();
        if self.definition().health.is_some() {
            probes.spawn_local(health::watch(self.clone()));
        }
        let exit = run.child.wait().await.map(plimsoll_runtime::Exit::code);
        self.running.set(false);
        self.changed.notify_waiters();
        // A probe that runs dies with the container; waiting for it reaps it.
        let _ = tokio::time::timeout(GRACE, probes.join_next()).await;
        probes.shutdown().await;
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
        // While it is there, something is left of a run.
        let _ = std::fs::remove_dir_all(self.paths.runtime());
        *self.stdin.lock().await = None;
        self.console.replace(None);
        Ended {
            exit_code,
            oom_killed,
            error,
        }
    }

    fn died(&self, ended: &Ended, ran: Duration) {
        if ended.oom_killed {
            self.event("oom", []);
        }
        self.witness(|witness| witness.moved_out(&self.state.borrow().endpoints));
        let details = [
            ("execDuration", ran.as_secs().to_string()),
            ("exitCode", ended.exit_code.to_string()),
        ];
        self.event("die", details);
    }

    fn is_to_run_again(&self, ended: &Ended) -> bool {
        let restarts = self.state.borrow().restart_count;
        let asked = self.again.take();
        !self.stopping.get() && (asked || self.definition().restart.applies(ended.exit_code, restarts))
    }

    /// Pauses and starts the program once more; None when somebody asked for the end meanwhile.
    async fn run_again(
        &self,
        start: &Start,
        new: NewRuntime<'_>,
        ended: &Ended,
        pause: Duration,
    ) -> Result<Option<Run>> {
        self.update(|state| {
            state.status = Status::Restarting;
            state.restart_count += 1;
            note_end(state, ended);
        });
        self.tell(ended);
        if !self.stopping.get() {
            let _ = tokio::time::timeout(pause, self.changed.notified()).await;
        }
        if self.stopping.get() {
            return Ok(None);
        }
        let definition = self.definition();
        let mut runtime = new();
        let created = create(start, &definition, &mut runtime).and_then(|created| {
            runtime.start()?;
            Ok(created)
        });
        let (pid, child, streams) = match created {
            Ok(created) => created,
            Err(error) => {
                clean_up(&mut runtime);
                let _ = std::fs::remove_dir_all(self.paths.runtime());
                return Err(error);
            }
        };
        self.runtime.replace(runtime);
        self.update(|state| {
            state.status = Status::Running;
            state.pid = pid;
            state.exit_code = 0;
            state.oom_killed = false;
            state.error.clear();
            state.started_at = Some(Timestamp::now());
            state.health = definition.health.as_ref().map(|_| Health::default());
        });
        self.began();
        Ok(Some(self.take_streams(child, streams)))
    }

    /// Tells everybody who waits for the end of this run.
    fn tell(&self, ended: &Ended) {
        self.output.finish(ended);
        let told = self.ended.replace(watch::Sender::new(None));
        told.send_replace(Some(ended.clone()));
    }

    fn finish(&self, ended: Ended) {
        let (endpoints, ports) = {
            let mut state = self.state.borrow_mut();
            (
                std::mem::take(&mut state.endpoints),
                std::mem::take(&mut state.ports),
            )
        };
        network::unpublish(self.definition().instance, &endpoints, &ports);
        let policy = self.definition().restart;
        self.update(|state| {
            state.status = Status::Exited;
            let is_suspended = self.suspended.get();
            state.stopped_by_user = self.stopping.get() && !is_suspended;
            state.suspended = is_suspended && policy.applies(ended.exit_code, 0);
            state.kept = self.keep.get();
            note_end(state, &ended);
            state.last_ports = ports;
            state.log_dropped = self.output.dropped();
        });
        let _ = std::fs::remove_file(self.paths.run.join(server::SOCKET));
        self.tell(&ended);
        self.over.send_replace(Some(ended));
    }

    /// Copies one stream until its end.
    async fn pump(self: Rc<Self>, mut source: Source, stream: LogStream) {
        let mut buffer = vec![0; 32 << 10];
        loop {
            match source.read(&mut buffer).await {
                Ok(0) => return,
                Ok(count) => self.output.write(stream, &buffer[..count]).await,
                Err(error) => return eprintln!("cannot read the container's output: {error}"),
            }
        }
    }

    /// Changes the state and writes it down.
    pub(super) fn update(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.borrow_mut();
        change(&mut state);
        if let Err(error) = self.paths.write_state(&state) {
            eprintln!("{}", chain(&error));
        }
    }

    /// Whether health is to be asked for.
    pub(super) fn is_running(&self) -> bool {
        self.running.get() && !self.stopping.get()
    }

    /// Whether the program has ended and waits to be started again.
    pub(super) fn is_restarting(&self) -> bool {
        self.state.borrow().status == Status::Restarting
    }

    /// Somebody asked for the end.
    pub(super) fn will_stop(&self, keep: bool) {
        self.stopping.set(true);
        self.keep.set(self.keep.get() || keep);
        self.changed.notify_waiters();
    }

    /// The program is to end, and to be started again.
    pub(super) fn will_run_again(&self) {
        self.again.set(true);
    }

    /// Waits for the end of the present run.
    pub(super) async fn wait(&self) -> Ended {
        let ended = self.ended.borrow().subscribe();
        first(ended).await
    }

    /// Waits for the end of the last run.
    pub(super) async fn wait_over(&self) -> Ended {
        first(self.over.subscribe()).await
    }

    /// Signals the program, or all that belongs to it. It may have ended a moment ago, and be cleared away already.
    pub(super) fn kill(&self, signal: i32, all: bool) -> Result<(), RuntimeError> {
        match self.running.get() {
            true => self.runtime.borrow_mut().kill(signal, all),
            false => Ok(()),
        }
    }

    /// Asks the program to end, and after `timeout` seconds (None: for ever) makes it.
    pub(super) async fn terminate(&self, signal: i32, timeout: Option<u64>) -> Result<Ended, RuntimeError> {
        if self.running.get() {
            self.event("kill", [("signal", signal.to_string())]);
            self.kill(signal, false)?;
            server::thaw(self);
        }
        let Some(seconds) = timeout else {
            return Ok(self.wait().await);
        };
        if let Ok(ended) = tokio::time::timeout(Duration::from_secs(seconds), self.wait()).await {
            return Ok(ended);
        }
        self.event("kill", [("signal", "9".to_owned())]);
        self.kill(9, true)?;
        Ok(self.wait().await)
    }
}

/// A shutdown asks supervisors to end: so the program is asked in its own way, and given its time, and is started again after
/// the boot if its restart policy says so. SIGKILL would end it at once.
async fn suspend(shim: Rc<Shim>, mut asked: Signal) {
    if asked.recv().await.is_none() {
        return;
    }
    if !shim.stopping.get() {
        shim.suspended.set(true);
    }
    let waits = shim.is_restarting();
    shim.will_stop(false);
    let definition = shim.definition();
    if !waits
        && let Err(error) = shim
            .terminate(definition.stop_signal.number, Some(definition.grace()))
            .await
    {
        eprintln!("cannot end the program: {}", chain(&error));
    }
}

fn note_end(state: &mut State, ended: &Ended) {
    state.pid = 0;
    state.exit_code = ended.exit_code;
    state.oom_killed = ended.oom_killed;
    state.error.clone_from(&ended.error);
    state.finished_at = Some(Timestamp::now());
}

async fn first(mut ended: watch::Receiver<Option<Ended>>) -> Ended {
    let seen = ended.wait_for(Option::is_some).await;
    // The sender says so before it is dropped.
    seen.ok().and_then(|seen| seen.clone()).unwrap_or_default()
}
