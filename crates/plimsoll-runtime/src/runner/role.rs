//! The runner's side: one thread, one container at a time.

use super::wire::{Answer, Engine, MAX_MESSAGE, Reply, Request, frame, receive_descriptors};
use crate::direct::{Direct, Step};
use crate::emulation::Emulation;
use crate::libcontainer::Libcontainer;
use crate::root::Root;
use crate::stubs::Stubs;
use crate::{Bundle, Emulator, Exit, Namespaces, OciRuntime, RuntimeError, Stdio, enter_private_mounts};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// The hidden role `plimsoll runner`, chosen at the top of main, before any thread.
pub fn runner_main() -> i32 {
    match serve() {
        Ok(()) => 0,
        // The caller reads the answer, or is gone; nobody reads what is written elsewhere.
        Err(_) => 1,
    }
}

fn serve() -> io::Result<()> {
    let mut socket = take_stdin()?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    rustix::process::chdir("/")?;
    let mut engines = Engines::default();
    while let Some(fds) = receive_descriptors(&socket)? {
        let request = read_request(&mut socket);
        let Some(reply) = reply(&mut engines, request, fds, &socket) else {
            return Ok(());
        };
        socket.write_all(&frame(&reply))?;
        if !reply.again {
            break;
        }
    }
    Ok(())
}

fn read_request(socket: &mut UnixStream) -> io::Result<Request> {
    let mut length = [0; 4];
    socket.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > MAX_MESSAGE {
        return Err(io::Error::other("the request is too long"));
    }
    let mut text = vec![0; length as usize];
    socket.read_exact(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// The socket out of the way of the container's own input.
fn take_stdin() -> io::Result<UnixStream> {
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    Ok(socket.into())
}

/// One step; None when the caller is gone.
fn reply(
    engines: &mut Engines,
    request: io::Result<Request>,
    fds: Vec<OwnedFd>,
    socket: &UnixStream,
) -> Option<Reply> {
    let result = request
        .map_err(RuntimeError::from)
        .and_then(|mut request| run(engines, &mut request, fds, socket));
    match result {
        Ok((answer, again)) => Some(Reply {
            answer: answer?,
            again,
        }),
        Err(error) => Some(Reply {
            answer: Answer::failed(&error),
            again: false,
        }),
    }
}

/// What one runner keeps from step to step.
#[derive(Default)]
struct Engines {
    direct: Option<Direct>,
    emulation: Option<Emulation>,
}

/// The steps of one build are mostly for one foreign processor.
fn emulation_for<'a>(
    known: &'a mut Option<Emulation>,
    emulator: &Emulator,
) -> Result<&'a Emulation, RuntimeError> {
    if known.as_ref().is_none_or(|known| known.emulator != *emulator) {
        *known = Some(Emulation::new(emulator)?);
    }
    Ok(known.as_ref().expect("made above"))
}

/// The answer, and whether this process is as it was before.
fn run(
    engines: &mut Engines,
    request: &mut Request,
    fds: Vec<OwnedFd>,
    socket: &UnixStream,
) -> Result<(Option<Answer>, bool), RuntimeError> {
    let Engines { direct, emulation } = engines;
    let engine = match direct {
        Some(engine) => engine,
        none => none.insert(Direct::new(request.filters.clone())?),
    };
    let user = match &request.emulator {
        Some(emulator) => Some(emulation_for(emulation, emulator)?.user()?),
        None => None,
    };
    let engine = (request.engine == Engine::Direct && engine.covers(&request.spec)).then_some(engine);
    if let Some(engine) = engine {
        if request.backing.is_empty() {
            return Ok((Job::new(request, fds, user, socket)?.directly(engine)?, true));
        }
        let answer = with_state(request, |request| {
            Job::new(request, fds, user, socket)?.directly(engine)
        });
        return Ok((answer?, false));
    }
    let answer = with_state(request, |request| {
        Job::new(request, fds, user, socket)?.by_library()
    });
    Ok((answer?, false))
}

/// With a folder of its own and what backs the step mounted, in a mount namespace of this process's own.
fn with_state<T>(
    request: &mut Request,
    run: impl FnOnce(&Request) -> Result<T, RuntimeError>,
) -> Result<T, RuntimeError> {
    enter_private_mounts()?;
    let state = request.state.clone();
    std::fs::create_dir_all(&state).map_err(RuntimeError::path("make", &state))?;
    let result = request.backing.attach(&request.spec, &state).and_then(|spec| {
        request.spec = spec;
        run(request)
    });
    let detached = request.backing.detach(&state);
    let removed = detached.and_then(|()| match std::fs::remove_dir_all(&state) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(RuntimeError::path("remove", &state)(error))
        }
        _ => Ok(()),
    });
    let answer = result?;
    removed?;
    Ok(answer)
}

/// One step and what came with it.
struct Job<'a> {
    request: &'a Request,
    stdio: Stdio,
    joined: Namespaces,
    socket: &'a UnixStream,
}

impl<'a> Job<'a> {
    fn new(
        request: &'a Request,
        fds: Vec<OwnedFd>,
        user: Option<OwnedFd>,
        socket: &'a UnixStream,
    ) -> Result<Self, RuntimeError> {
        let mut fds = fds.into_iter();
        let (Some(stdout), Some(stderr)) = (fds.next(), fds.next()) else {
            return Err(RuntimeError::Misuse(
                "a step comes with its standard output and error",
            ));
        };
        let stdin = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).map_err(io::Error::from)?;
        Ok(Self {
            request,
            stdio: Stdio::Pipes {
                stdin,
                stdout,
                stderr,
            },
            joined: Namespaces {
                network: fds.next(),
                user,
                ..Namespaces::default()
            },
            socket,
        })
    }

    fn directly(self, engine: &mut Direct) -> Result<Option<Answer>, RuntimeError> {
        let request = self.request;
        // Only made where the kernel needs it, beside what backs the step.
        let scratch = request.state.with_extension("rootfs");
        let overlay = request.rootfs.detached(&scratch, true, None)?;
        let root = Root::detached(overlay, &scratch);
        let (joined, socket) = (self.joined, self.socket);
        let step = Step {
            spec: &request.spec,
            root: &root,
            images: &[],
            joined: &joined,
            users: None,
            hooks: None,
            stdio: self.stdio,
        };
        let result = Stubs::survey(&root, &request.rootfs, &request.spec).map(|stubs| {
            let answer = contain_directly(engine, step, socket);
            (answer, stubs.remove(&root), stubs)
        });
        drop(root);
        // An error of the program is an answer like any other; the runner is as good as before.
        match cleaned_up(request, result, Ok(())) {
            Err(error @ RuntimeError::Program { .. }) => Ok(Some(Answer::failed(&error))),
            result => result,
        }
    }

    fn by_library(self) -> Result<Option<Answer>, RuntimeError> {
        if self.joined.user.is_some() {
            return Err(RuntimeError::Misuse(
                "programs of another processor cannot be run with these options unless the host has an emulator registered",
            ));
        }
        let target = self.request.state.join("rootfs");
        std::fs::create_dir_all(&target).map_err(RuntimeError::path("make", &target))?;
        self.in_mounted_overlay(&target)
    }

    fn in_mounted_overlay(self, target: &Path) -> Result<Option<Answer>, RuntimeError> {
        let request = self.request;
        request.rootfs.mount_with(target, true)?;
        let result = Root::open(target).and_then(|root| {
            let stubs = Stubs::survey(&root, &request.rootfs, &request.spec)?;
            let answer = self.contain_by_library(target);
            Ok((answer, stubs.remove(&root), stubs))
        });
        // Whatever happened: the directories are the caller's again, and may be mounted once more.
        let unmounted = unmount(target, UnmountFlags::empty());
        cleaned_up(
            request,
            result,
            unmounted.map_err(RuntimeError::path("unmount", target)),
        )
    }

    fn contain_by_library(self, target: &Path) -> Result<Option<Answer>, RuntimeError> {
        let mut runtime = Libcontainer::new();
        let bundle = Bundle {
            spec: &self.request.spec,
            rootfs: &self.request.rootfs,
            volatile: true,
            state: &self.request.state,
            filters: &self.request.filters,
            joined: &self.joined,
            stdio: self.stdio,
        };
        let pid = runtime.create_in(target, bundle)?;
        let ended = runtime.start().and_then(|()| {
            let pid = Pid::from_raw(pid).ok_or_else(|| io::Error::other("no process"))?;
            let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(io::Error::from)?;
            Ok(wait(&pidfd, self.socket)?)
        });
        let oom_killed = runtime.oom_killed();
        let deleted = runtime.delete();
        let ended = ended?;
        deleted?;
        let warnings = runtime.warnings().to_vec();
        Ok(ended.map(|exit| Answer::Ended {
            exit,
            oom_killed,
            warnings,
        }))
    }
}

fn contain_directly(
    engine: &mut Direct,
    step: Step<'_>,
    socket: &UnixStream,
) -> Result<Option<Answer>, RuntimeError> {
    let running = engine.start(step)?;
    let ended = wait(&running.pidfd, socket);
    let warnings = running.warnings.clone();
    let oom_killed = running.finish()?;
    Ok(ended?.map(|exit| Answer::Ended {
        exit,
        oom_killed,
        warnings,
    }))
}

type InOverlay = (
    Result<Option<Answer>, RuntimeError>,
    Result<(), RuntimeError>,
    Stubs,
);

/// The directories of a step as its caller wants them back, with or without an answer.
fn cleaned_up(
    request: &Request,
    result: Result<InOverlay, RuntimeError>,
    unmounted: Result<(), RuntimeError>,
) -> Result<Option<Answer>, RuntimeError> {
    let forgotten = request.rootfs.forget_volatile();
    let (answer, removed, stubs) = result?;
    let answer = answer?;
    removed?;
    unmounted?;
    forgotten.map_err(RuntimeError::path("clean", &request.rootfs.work))?;
    stubs.remove_copies(&request.rootfs)?;
    Ok(answer)
}

/// Waits for the container or the end of the caller, which is None.
fn wait(process: &OwnedFd, socket: &UnixStream) -> io::Result<Option<Exit>> {
    loop {
        // The caller sends nothing more: anything from the socket is its end.
        let mut fds = [
            PollFd::new(process, PollFlags::IN),
            PollFd::new(socket, PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Ok(_) if !fds[0].revents().is_empty() => break,
            Ok(_) if !fds[1].revents().is_empty() => return Ok(None),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let status = waitid(WaitId::PidFd(process.as_fd()), WaitIdOptions::EXITED)?;
    let status = status.ok_or_else(|| io::Error::other("no status"))?;
    Ok(Some(match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal(signal.unwrap_or(9)),
    }))
}
