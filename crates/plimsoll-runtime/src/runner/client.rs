//! The caller's side: starts the runner, reads its output as it comes.

use super::backing::Backing;
use super::wire::{Answer, Engine, MAX_MESSAGE, Reply, Request, frame, send_descriptors};
use crate::cgroup::{Cgroup, Hierarchies};
use crate::container_spec::ContainerSpec;
use crate::rootfs::Rootfs;
use crate::{Emulator, Exit, RuntimeError};
use camino::Utf8PathBuf;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
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
    /// What runs its programs, where they are for another processor and the kernel knows nothing that does.
    pub emulator: Option<Emulator>,
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

/// Runs steps by runner processes: `program runner`, the hidden role.
///
/// A runner that is done waits for the next step, also of a clone of this; all end with the last clone. Use one only
/// within one tokio runtime: it listens to them.
#[derive(Clone, Debug)]
pub struct Runtime {
    program: PathBuf,
    run: Utf8PathBuf,
    engine: Engine,
    idle: Arc<Mutex<Vec<Runner>>>,
}

/// A process, and the one end of its socket: without it it ends.
#[derive(Debug)]
struct Runner {
    process: Child,
    socket: UnixStream,
}

/// The reading ends of a step's output.
struct Outputs {
    stdout: Option<pipe::Receiver>,
    stderr: Option<pipe::Receiver>,
}

impl Runtime {
    /// `program` is the binary that has the role, `run` a scratch folder for state, below run/. Compiled
    /// filters stay in its `filters`.
    pub fn new(program: PathBuf, run: Utf8PathBuf) -> Self {
        Self {
            program,
            run,
            engine: Engine::Direct,
            idle: Arc::default(),
        }
    }

    /// Every container by libcontainer, which the direct path is measured by.
    pub fn with_library(mut self) -> Self {
        self.engine = Engine::Library;
        self
    }

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
        // Out of the list while it works: where this future is dropped, so is the socket.
        let mut runner = self.runner()?;
        let outputs = runner.hand_over(request.netns.as_ref())?;
        let request = Request {
            spec: request.spec,
            rootfs: request.rootfs,
            backing: request.backing,
            state: state.clone(),
            filters: self.run.join("filters").into(),
            engine: self.engine,
            emulator: request.emulator,
        };
        // A runner that cannot read the request says so in its answer, or ends without one.
        let _ = runner.socket.write_all(&frame(&request)).await;
        let Some(reply) = follow(&mut runner, outputs, output).await? else {
            let status = runner.process.wait().await?;
            clean_up(&cgroup, &state)?;
            return Err(ended_early(status));
        };
        if reply.again {
            self.idle().push(runner);
        } else {
            runner.process.wait().await?;
        }
        finished(reply.answer)
    }

    /// One that waits, or a new one.
    fn runner(&self) -> Result<Runner, RuntimeError> {
        // One that was killed while it waited is no runner any more.
        while let Some(mut runner) = self.idle().pop() {
            if matches!(runner.process.try_wait(), Ok(None)) {
                return Ok(runner);
            }
        }
        let (ours, theirs) = StdUnixStream::pair()?;
        let process = Command::new(&self.program)
            .arg0("plimsoll")
            .arg("runner")
            // Nothing of the environment is for the runner, and LISTEN_FDS would be against it.
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(RuntimeError::path("start", &self.program))?;
        ours.set_nonblocking(true)?;
        let socket = UnixStream::from_std(ours)?;
        Ok(Runner { process, socket })
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Runner>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Runner {
    /// Gives the runner its ends of new output pipes, and the network namespace.
    fn hand_over(&self, netns: Option<&OwnedFd>) -> Result<Outputs, RuntimeError> {
        let (stdout, to_stdout) = std::io::pipe()?;
        let (stderr, to_stderr) = std::io::pipe()?;
        let fds: Vec<_> = [to_stdout.as_fd(), to_stderr.as_fd()]
            .into_iter()
            .chain(netns.map(|netns| netns.as_fd()))
            .collect();
        // Fails where the runner has ended, which its missing answer tells.
        let _ = send_descriptors(&self.socket, &fds);
        Ok(Outputs {
            stdout: Some(pipe::Receiver::from_owned_fd(stdout.into())?),
            stderr: Some(pipe::Receiver::from_owned_fd(stderr.into())?),
        })
    }
}

fn finished(answer: Answer) -> Result<Finished, RuntimeError> {
    match answer {
        Answer::Ended {
            exit,
            oom_killed,
            warnings,
        } => Ok(Finished {
            exit,
            oom_killed,
            warnings,
        }),
        Answer::Failed {
            message,
            exit_code: exit_code @ (126 | 127),
        } => Err(RuntimeError::Program { message, exit_code }),
        Answer::Failed { message, exit_code } => Err(RuntimeError::Runner { message, exit_code }),
    }
}

/// Passes on what comes from the runner until it has answered and both outputs are closed.
async fn follow(
    runner: &mut Runner,
    outputs: Outputs,
    output: &mut (dyn FnMut(Stream, &[u8]) + Send),
) -> Result<Option<Reply>, RuntimeError> {
    let Outputs {
        mut stdout,
        mut stderr,
    } = outputs;
    let (mut from_stdout, mut from_stderr) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let answer = read_answer(&mut runner.socket);
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
async fn read_answer(socket: &mut UnixStream) -> Result<Option<Reply>, RuntimeError> {
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
