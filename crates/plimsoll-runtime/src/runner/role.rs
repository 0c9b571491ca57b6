//! The runner's side: one thread, one container.

use super::wire::{Answer, MAX_MESSAGE, Request, frame};
use crate::libcontainer::{Libcontainer, receive_descriptor};
use crate::root::Root;
use crate::stubs::Stubs;
use crate::{Bundle, Exit, OciRuntime, RuntimeError, Stdio, enter_private_mounts};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// The hidden role `plimsoll runner`, chosen at the top of main, before any thread.
pub fn runner_main() -> i32 {
    match serve() {
        Ok(()) => 0,
        // The caller reads the answer, or is gone; standard error is the step's own.
        Err(_) => 1,
    }
}

fn serve() -> io::Result<()> {
    let mut socket = take_stdin()?;
    let (_, netns) = receive_descriptor(&socket, 1)?;
    let mut length = [0; 4];
    socket.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > MAX_MESSAGE {
        return Err(io::Error::other("the request is too long"));
    }
    let mut text = vec![0; length as usize];
    socket.read_exact(&mut text)?;
    let answer = match serde_json::from_slice(&text) {
        Ok(mut request) => {
            run(&mut request, netns.as_ref(), &socket).unwrap_or_else(|error| Some(Answer::failed(&error)))
        }
        Err(error) => Some(Answer::failed(&io::Error::from(error).into())),
    };
    match answer {
        Some(answer) => socket.write_all(&frame(&answer)),
        None => Ok(()),
    }
}

/// The socket out of the way of the container's own input.
fn take_stdin() -> io::Result<UnixStream> {
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    Ok(socket.into())
}

/// None when the caller is gone.
fn run(
    request: &mut Request,
    netns: Option<&OwnedFd>,
    socket: &UnixStream,
) -> Result<Option<Answer>, RuntimeError> {
    rustix::process::umask(Mode::from_raw_mode(0o022));
    rustix::process::chdir("/").map_err(io::Error::from)?;
    enter_private_mounts()?;
    let state = request.state.clone();
    std::fs::create_dir_all(&state).map_err(RuntimeError::path("make", &state))?;
    let result = in_state(request, netns, socket);
    let removed = request
        .backing
        .detach(&state)
        .and_then(|()| std::fs::remove_dir_all(&state).map_err(RuntimeError::path("remove", &state)));
    let answer = result?;
    removed?;
    Ok(answer)
}

fn in_state(
    request: &mut Request,
    netns: Option<&OwnedFd>,
    socket: &UnixStream,
) -> Result<Option<Answer>, RuntimeError> {
    request.spec = request.backing.attach(&request.spec, &request.state)?;
    let target = request.state.join("rootfs");
    std::fs::create_dir_all(&target).map_err(RuntimeError::path("make", &target))?;
    in_overlay(request, &target, netns, socket)
}

fn in_overlay(
    request: &Request,
    target: &Path,
    netns: Option<&OwnedFd>,
    socket: &UnixStream,
) -> Result<Option<Answer>, RuntimeError> {
    request.rootfs.mount_with(target, true)?;
    let result = Root::open(target).and_then(|root| {
        let stubs = Stubs::survey(&root, &request.rootfs, &request.spec)?;
        let answer = in_container(request, target, netns, socket);
        let removed = stubs.remove(&root);
        Ok((answer, removed, stubs))
    });
    // Whatever happened: the directories are the caller's again, and may be mounted once more.
    let unmounted = unmount(target, UnmountFlags::empty()).map_err(RuntimeError::path("unmount", target));
    let forgotten = request.rootfs.forget_volatile();
    let (answer, removed, stubs) = result?;
    let answer = answer?;
    removed?;
    unmounted?;
    forgotten.map_err(RuntimeError::path("clean", &request.rootfs.work))?;
    stubs.remove_copies(&request.rootfs)?;
    Ok(answer)
}

fn in_container(
    request: &Request,
    target: &Path,
    netns: Option<&OwnedFd>,
    socket: &UnixStream,
) -> Result<Option<Answer>, RuntimeError> {
    let mut runtime = Libcontainer::new();
    let stdio = Stdio::Pipes {
        stdin: rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).map_err(io::Error::from)?,
        stdout: rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3).map_err(io::Error::from)?,
        stderr: rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stderr(), 3).map_err(io::Error::from)?,
    };
    let bundle = Bundle {
        spec: &request.spec,
        rootfs: target,
        state: &request.state,
        netns,
        stdio,
    };
    let pid = runtime.create(bundle)?;
    let ended = runtime.start().and_then(|()| Ok(wait(pid, socket)?));
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

/// Waits for the container or the end of the caller, which is None.
fn wait(pid: i32, socket: &UnixStream) -> io::Result<Option<Exit>> {
    let pid = Pid::from_raw(pid).ok_or_else(|| io::Error::other("no process"))?;
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    loop {
        // The caller sends nothing more: anything from the socket is its end.
        let mut fds = [
            PollFd::new(&process, PollFlags::IN),
            PollFd::new(socket, PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Ok(_) if !fds[0].revents().is_empty() => break,
            Ok(_) if !fds[1].revents().is_empty() => return Ok(None),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let status = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED)?;
    let status = status.ok_or_else(|| io::Error::other("no status"))?;
    Ok(Some(match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal(signal.unwrap_or(9)),
    }))
}
