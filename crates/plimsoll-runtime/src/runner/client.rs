//! The caller's side: starts the runner, reads its output as it comes.

use super::backing::Backing;
use super::wire::{Answer, MAX_MESSAGE, Request, frame};
use crate::cgroup::{Cgroup, Hierarchies};
use crate::container_spec::ContainerSpec;
use crate::libcontainer::send_descriptor;
use crate::rootfs::Rootfs;
use crate::{Exit, RuntimeError};
use camino::Utf8PathBuf;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

/// One build step, run to its end by a runner process.
pub struct RunOnce {
    /// What to run.
    pub spec: ContainerSpec,
    /// Where: changes go to its upper directory.
    pub rootfs: Rootfs,
    /// For [`crate::NetworkNamespace::Given`].
    pub netns: Option<OwnedFd>,
    /// What else is there for it alone.
    pub backing: Backing,
}

/// Which output a piece of text came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The program's own end.
    pub exit: Exit,
    /// True if the kernel killed a process for memory.
    pub oom_killed: bool,
    /// What was asked for and could not be given.
    pub warnings: Vec<String>,
}

/// Starts runner processes: `program runner`, the hidden role.
#[derive(Clone, Debug)]
pub struct Runtime {
    /// The binary that has the role.
    pub program: PathBuf,
    /// Scratch folder for state, below run/.
    pub run: Utf8PathBuf,
}

impl Runtime {
    /// Runs to the end; dropping the future kills everything. Mount points the runtime had to make in `upper` are gone
    /// afterwards.
    pub async fn run_once(
        &self,
        request: RunOnce,
        output: &mut (dyn FnMut(Stream, &[u8]) + Send),
    ) -> Result<Exit, RuntimeError> {
        Ok(self.run(request, output).await?.exit)
    }

    /// As [`Runtime::run_once`], and says more about the end.
    ///
    /// The root is mounted `volatile`: nothing the program writes is synced. Who keeps `upper` makes it durable.
    pub async fn run(
        &self,
        request: RunOnce,
        output: &mut (dyn FnMut(Stream, &[u8]) + Send),
    ) -> Result<Finished, RuntimeError> {
        request.spec.check_id()?;
        let cgroup = request.spec.cgroup.clone();
        let state = self.run.join(&request.spec.id).into_std_path_buf();
        let (mut runner, mut socket) = self.spawn(request.netns.as_ref())?;
        let request = Request {
            spec: request.spec,
            rootfs: request.rootfs,
            backing: request.backing,
            state: state.clone(),
        };
        // A runner that cannot read the request says so in its answer, or ends without one.
        let _ = socket.write_all(&frame(&request)).await;
        let answer = follow(&mut runner, &mut socket, output).await;
        let status = runner.wait().await?;
        match answer? {
            Some(Answer::Ended {
                exit,
                oom_killed,
                warnings,
            }) => Ok(Finished {
                exit,
                oom_killed,
                warnings,
            }),
            Some(Answer::Failed {
                message,
                exit_code: code @ (126 | 127),
            }) => Err(RuntimeError::Program {
                message,
                exit_code: code,
            }),
            Some(Answer::Failed { message, exit_code }) => Err(RuntimeError::Runner { message, exit_code }),
            None => {
                clean_up(&cgroup, &state)?;
                Err(ended_early(status))
            }
        }
    }

    fn spawn(&self, netns: Option<&OwnedFd>) -> Result<(Child, UnixStream), RuntimeError> {
        let (ours, theirs) = StdUnixStream::pair()?;
        let runner = Command::new(&self.program)
            .arg0("plimsoll")
            .arg("runner")
            // Nothing of the environment is for the runner, and LISTEN_FDS would be against it.
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(RuntimeError::path("start", &self.program))?;
        send_descriptor(&ours, &[0], netns)?;
        ours.set_nonblocking(true)?;
        Ok((runner, UnixStream::from_std(ours)?))
    }
}

/// Passes on what comes from the runner until it has answered and both outputs are closed.
async fn follow(
    runner: &mut Child,
    socket: &mut UnixStream,
    output: &mut (dyn FnMut(Stream, &[u8]) + Send),
) -> Result<Option<Answer>, RuntimeError> {
    let mut stdout = runner.stdout.take();
    let mut stderr = runner.stderr.take();
    let (mut from_stdout, mut from_stderr) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let answer = read_answer(socket);
    tokio::pin!(answer);
    let mut received = None;
    while stdout.is_some() || stderr.is_some() || received.is_none() {
        tokio::select! {
            length = read_some(&mut stdout, &mut from_stdout), if stdout.is_some() => {
                match length? {
                    0 => stdout = None,
                    length => output(Stream::Stdout, &from_stdout[..length]),
                }
            }
            length = read_some(&mut stderr, &mut from_stderr), if stderr.is_some() => {
                match length? {
                    0 => stderr = None,
                    length => output(Stream::Stderr, &from_stderr[..length]),
                }
            }
            answer = &mut answer, if received.is_none() => received = Some(answer?),
        }
    }
    Ok(received.flatten())
}

async fn read_some<R: AsyncRead + Unpin>(from: &mut Option<R>, buffer: &mut [u8]) -> std::io::Result<usize> {
    match from {
        Some(from) => from.read(buffer).await,
        None => Ok(0),
    }
}

/// None when the runner ended without one.
async fn read_answer(socket: &mut UnixStream) -> Result<Option<Answer>, RuntimeError> {
    let Ok(length) = socket.read_u32().await else {
        return Ok(None);
    };
    if length > MAX_MESSAGE {
        return Err(std::io::Error::other("the runner's answer is too long").into());
    }
    let mut text = vec![0; length as usize];
    if socket.read_exact(&mut text).await.is_err() {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&text).map_err(std::io::Error::from)?))
}

/// What a runner that was killed left: its container died with it.
fn clean_up(cgroup: &str, state: &Path) -> Result<(), RuntimeError> {
    Cgroup::new(&Hierarchies::detect()?, cgroup)?.remove()?;
    let _ = std::fs::remove_dir_all(state);
    Ok(())
}

fn ended_early(status: ExitStatus) -> RuntimeError {
    RuntimeError::Runner {
        message: format!("the runner ended early: {status}"),
        exit_code: 125,
    }
}
