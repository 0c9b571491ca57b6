//! Containers by way of the libcontainer crate.
//!
//! What that library asks of its caller, and where it is met:
//! - it clones with a raw system call and runs Rust in the child, so the process must have one thread: checked;
//! - it leaves the container as a child of the *caller* without `as_sibling`; with it, of the caller's parent (the
//!   option speaks of the process in between). The caller is to wait, so it stays off;
//! - it makes the caller undumpable: undone afterwards;
//! - it gives no filter to further processes of a container: the [`Launch`] loads it there;
//! - it says in its log, not in its error, what failed: the [`Trail`] reads along;
//! - it limits devices on cgroup v1 only: see [`devices`];
//! - it leaves the loopback of an empty network down: see [`network`];
//! - it mistakes the mask of a filter's comparison for its result: see [`filter`].

mod console;
pub(crate) mod devices;
mod filter;
mod launch;
pub(crate) mod network;
mod trail;

use crate::cgroup::Cgroup;
use crate::container_spec::{ContainerSpec, Ipc, Resources};
use crate::direct::groups;
use crate::hooks::{HookStage, Hooks};
use crate::host::Host;
use crate::program::Report;
use crate::root::Root;
use crate::{
    Bundle, Namespaces, OciRuntime, ProcessSpec, RuntimeError, Stdio, enter_private_mounts, rootfs, spec,
    user,
};
use console::Console;
pub(crate) use console::{receive as receive_descriptor, send as send_descriptor};
use launch::Launch;
use libcontainer::container::Container;
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::syscall::syscall::SyscallType;
use rustix::fs::Mode;
use rustix::mount::UnmountFlags;
use rustix::process::{DumpableBehavior, Pid, PidfdFlags, Signal, WaitOptions};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use trail::Trail;

/// One container, made by libcontainer.
///
/// The caller's environment must not hold `LISTEN_FDS`: the library would pass descriptors on. Start the process that
/// uses this with a cleared one.
#[derive(Default)]
pub struct Libcontainer {
    running: Option<Running>,
    warnings: Vec<String>,
}

struct Running {
    spec: ContainerSpec,
    host: Host,
    /// Where the root is mounted.
    rootfs: PathBuf,
    /// Whether it is to be unmounted at the end.
    mounted: bool,
    state: PathBuf,
    container: Container,
    cgroup: Cgroup,
    init: Pid,
    /// Of init; a number could be another process by the time it is used.
    pidfd: OwnedFd,
    report: Option<Report>,
    hooks: Option<Hooks>,
    /// Kept open: further processes join the namespaces by their paths.
    _joined: Namespaces,
    processes: u32,
}

impl Libcontainer {
    /// Nothing yet; [`OciRuntime::create`] makes the container.
    pub fn new() -> Self {
        Self::default()
    }

    /// As [`OciRuntime::create`], in a root that is mounted at `target`.
    pub(crate) fn create_in(&mut self, target: &Path, bundle: Bundle<'_>) -> Result<i32, RuntimeError> {
        check_process()?;
        bundle.spec.check_id()?;
        if bundle.spec.ipc == Ipc::Given {
            let reason =
                "the IPC of another container can only be shared on the direct path, which needs Linux 5.12";
            return Err(RuntimeError::Invalid(reason.into()));
        }
        let host = Host::detect()?;
        let root = Root::open(target)?;
        let identity = user::of_container(&root, bundle.spec)?;
        let request = rootfs::prepare(&root, bundle.spec)?;
        let joined = network::namespaces(&request.network, bundle.joined)?;
        let paths = spec::Paths::of(&joined);
        let mut mapped = spec::container(&request, &identity, target, &paths, &host)?;
        let rules = mapped
            .spec
            .linux()
            .as_ref()
            .and_then(|linux| linux.resources().clone());
        let rules = rules
            .and_then(|resources| resources.devices().clone())
            .unwrap_or_default();
        filter::turn_in(&mut mapped.spec);
        self.warnings = mapped.warnings;
        let config = bundle.state.join("config.json");
        mapped
            .spec
            .save(&config)
            .map_err(|error| failed("describe", &error))?;

        let cgroup = Cgroup::new(&host.hierarchies, &request.cgroup)?;
        // What an earlier container of this id left when it and its maker were killed: limits, counts, a folder.
        cgroup.remove()?;
        let _ = fs::remove_dir_all(bundle.state.join(&request.id));
        let reaper = request.init.then_some(request.tty);
        let (launch, report) = Launch::new(None, reaper)?;
        let (builder, console) = builder(&request.id, bundle.state, launch, bundle.stdio)?;
        let built = guarded("create", || {
            builder
                .as_init(bundle.state)
                .with_systemd(false)
                .as_sibling(false)
                .with_detach(true)
                .build()
        });
        let container = match built {
            Ok(container) => container,
            Err(error) => {
                // The library forgets processes and folders when it fails half way.
                cgroup.remove()?;
                let _ = fs::remove_dir_all(bundle.state.join(&request.id));
                return Err(error);
            }
        };
        let init = container.pid().and_then(|pid| Pid::from_raw(pid.as_raw()));
        let init = init.ok_or(RuntimeError::Misuse("the runtime library returned no process"))?;
        let pidfd = rustix::process::pidfd_open(init, PidfdFlags::empty()).map_err(io::Error::from)?;
        self.running = Some(Running {
            rootfs: target.to_owned(),
            mounted: false,
            state: bundle.state.to_owned(),
            container,
            cgroup,
            init,
            pidfd,
            report: Some(report),
            _joined: joined,
            processes: 0,
            hooks: Hooks::of(&request, bundle.state),
            spec: request,
            host,
        });
        let running = self.running()?;
        if let Some(folder) = running.cgroup.unified() {
            devices::limit(folder, &rules)?;
        }
        if let Some(console) = console {
            console.forward()?;
        }
        Ok(init.as_raw_nonzero().get())
    }

    fn running(&mut self) -> Result<&mut Running, RuntimeError> {
        self.running
            .as_mut()
            .ok_or(RuntimeError::Misuse("the container has not been created"))
    }
}

impl OciRuntime for Libcontainer {
    fn create(&mut self, bundle: Bundle<'_>) -> Result<i32, RuntimeError> {
        let target = mount(&bundle)?;
        let created = self.create_in(&target, bundle);
        match (created, &mut self.running) {
            (Ok(pid), Some(running)) => {
                running.mounted = true;
                Ok(pid)
            }
            (created, _) => {
                unmount(&target)?;
                created
            }
        }
    }

    fn start(&mut self) -> Result<(), RuntimeError> {
        let running = self.running()?;
        let report = running
            .report
            .take()
            .ok_or(RuntimeError::Misuse("the container has been started"))?;
        running
            .container
            .start()
            .map_err(|error| failed("start", &error))?;
        let result = report.read();
        if result.is_err() {
            reap(running.init);
        }
        result
    }

    fn exec(&mut self, process: &ProcessSpec, stdio: Stdio) -> Result<i32, RuntimeError> {
        check_process()?;
        self.running()?.exec(process, stdio)
    }

    fn kill(&mut self, signal: i32, all: bool) -> Result<(), RuntimeError> {
        let running = self.running()?;
        let signal = Signal::from_named_raw(signal)
            .ok_or_else(|| RuntimeError::Invalid(format!("invalid signal: {signal}")))?;
        if all && running.cgroup.signal(signal) {
            return Ok(());
        }
        match rustix::process::pidfd_send_signal(&running.pidfd, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(io::Error::from(error).into()),
        }
    }

    fn update(&mut self, resources: &Resources) -> Result<Vec<String>, RuntimeError> {
        let running = self.running()?;
        let mut warnings = Vec::new();
        let spec = ContainerSpec {
            resources: resources.clone(),
            ..running.spec.clone()
        };
        groups::update(&running.cgroup, &running.host, &spec, &mut warnings)?;
        running.spec = spec;
        Ok(warnings)
    }

    fn freeze(&mut self, frozen: bool) -> Result<(), RuntimeError> {
        self.running()?.cgroup.freeze(frozen)
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn oom_killed(&self) -> bool {
        self.running
            .as_ref()
            .is_some_and(|running| running.cgroup.oom_killed())
    }

    fn delete(&mut self) -> Result<(), RuntimeError> {
        let Some(running) = self.running.take() else {
            return Ok(());
        };
        let _ = rustix::process::pidfd_send_signal(&running.pidfd, Signal::KILL);
        reap(running.init);
        running.cgroup.remove()?;
        let folder = running.state.join(&running.spec.id);
        for path in [folder, running.state.join("config.json")] {
            remove(&path).map_err(RuntimeError::path("remove", &path))?;
        }
        if running.mounted {
            unmount(&running.rootfs)?;
        }
        // The library calls them only where it removes the container itself.
        running
            .hooks
            .map_or(Ok(()), |hooks| hooks.run(HookStage::Poststop, 0))
    }
}

impl Running {
    /// The library joins a running container with nothing but namespaces and a group: capabilities and filter are the
    /// [`Launch`]'s, the program's words come from it too.
    fn exec(&mut self, process: &ProcessSpec, stdio: Stdio) -> Result<i32, RuntimeError> {
        let identity = user::lookup(&Root::open(&self.rootfs)?, &process.user, &self.spec.group_add)?;
        let mut further = spec::further_process(&self.spec, process, &identity, &self.host)?;
        let capabilities = further.process.capabilities().clone().unwrap_or_default();
        // The launch sets them, after the filter.
        further.process.set_capabilities(None);
        let confinement = (capabilities, further.filter.map(filter::turned));
        self.processes += 1;
        let description = self.state.join(format!("exec-{}.json", self.processes));
        let number = self.state.join(format!("exec-{}.pid", self.processes));
        let text = serde_json::to_vec(&further.process).expect("a process has no keys but texts");
        fs::write(&description, text).map_err(RuntimeError::path("write", &description))?;

        let (launch, report) = Launch::new(Some(confinement), None)?;
        let (builder, console) = builder(&self.spec.id, &self.state, launch, stdio)?;
        let builder = builder
            .with_pid_file(Some(&number))
            .map_err(|error| failed("enter", &error))?;
        let built = guarded("enter", || {
            builder
                .as_tenant()
                .with_process(Some(&description))
                .as_sibling(false)
                .with_detach(true)
                .build()
        });
        let pid = fs::read_to_string(&number)
            .ok()
            .and_then(|text| Pid::from_raw(text.trim().parse().ok()?));
        for path in [&description, &number] {
            let _ = fs::remove_file(path);
        }
        // The program's own failure says more than what the library made of it.
        let outcome = report.read().and(built);
        match outcome {
            Ok(pid) => {
                if let Some(console) = console {
                    console.forward()?;
                }
                Ok(pid.as_raw())
            }
            Err(error) => {
                if let Some(pid) = pid {
                    reap(pid);
                }
                Err(error)
            }
        }
    }
}

fn builder(
    id: &str,
    state: &Path,
    launch: Launch,
    stdio: Stdio,
) -> Result<(ContainerBuilder, Option<Console>), RuntimeError> {
    let builder = ContainerBuilder::new(id.to_owned(), SyscallType::default())
        .with_executor(launch)
        .with_root_path(state)
        .map_err(|error| failed("create", &error))?;
    match stdio {
        Stdio::Pipes {
            stdin,
            stdout,
            stderr,
        } => {
            let builder = builder
                .with_stdin(above_stdio(stdin)?)
                .with_stdout(above_stdio(stdout)?);
            Ok((builder.with_stderr(above_stdio(stderr)?), None))
        }
        Stdio::Console(socket) => {
            let console = Console::listen(state, socket)?;
            Ok((builder.with_console_socket(Some(console.path())), Some(console)))
        }
    }
}

/// The library closes what it has put in place, which must then not be the place itself.
fn above_stdio(fd: OwnedFd) -> Result<OwnedFd, RuntimeError> {
    Ok(rustix::io::fcntl_dupfd_cloexec(fd, 3).map_err(io::Error::from)?)
}

/// Calls the library and undoes what it does to the calling process.
fn guarded<T, E: std::error::Error>(
    operation: &'static str,
    call: impl FnOnce() -> Result<T, E>,
) -> Result<T, RuntimeError> {
    let trail = Trail::new()?;
    let umask = rustix::process::umask(Mode::from_raw_mode(0o022));
    let result = trail.follow(call);
    rustix::process::umask(umask);
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable);
    result.map_err(|error| {
        let detail = trail
            .first()
            .unwrap_or_else(|| failed(operation, &error).to_string());
        RuntimeError::Container { operation, detail }
    })
}

fn check_process() -> Result<(), RuntimeError> {
    let threads = Path::new("/proc/self/task");
    if fs::read_dir(threads)
        .map_err(RuntimeError::path("read", threads))?
        .count()
        != 1
    {
        return Err(RuntimeError::Misuse(
            "containers are made by a process with one thread only",
        ));
    }
    if std::env::var_os("LISTEN_FDS").is_some() {
        return Err(RuntimeError::Misuse(
            "`LISTEN_FDS` is set: the container would inherit descriptors",
        ));
    }
    Ok(())
}

/// Mounts the root in the state folder, in a mount namespace of this process's own: nothing is left of it when the
/// process ends. What is there from an earlier life is taken off first.
fn mount(bundle: &Bundle<'_>) -> Result<PathBuf, RuntimeError> {
    let target = bundle.state.join("rootfs");
    enter_private_mounts()?;
    fs::create_dir_all(&target).map_err(RuntimeError::path("make", &target))?;
    if bundle.volatile {
        // Of an earlier run: what was not synced then is as it is now.
        let forgotten = bundle.rootfs.forget_volatile();
        forgotten.map_err(RuntimeError::path("clean", &bundle.rootfs.work))?;
    }
    bundle.rootfs.mount_with(&target, bundle.volatile)?;
    Ok(target)
}

fn unmount(target: &Path) -> Result<(), RuntimeError> {
    rustix::mount::unmount(target, UnmountFlags::DETACH).map_err(RuntimeError::path("unmount", target))?;
    fs::remove_dir(target).map_err(RuntimeError::path("remove", target))
}

fn reap(pid: Pid) {
    while let Err(rustix::io::Errno::INTR) = rustix::process::waitpid(Some(pid), WaitOptions::empty()) {}
}

fn remove(path: &Path) -> io::Result<()> {
    let result = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

pub(crate) fn failed(operation: &'static str, error: &dyn std::error::Error) -> RuntimeError {
    let mut detail = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let line = inner.to_string();
        if !detail.ends_with(&line) {
            detail = format!("{detail}: {line}");
        }
        cause = inner.source();
    }
    RuntimeError::Container { operation, detail }
}
