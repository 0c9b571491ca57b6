//! `exec`, `container exec`

use std::io::{self, Read as _, Write};
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::Duration;

use camino::Utf8PathBuf;
use plimsoll_container::{Container, Containers, Exec};
use plimsoll_runtime::ProcessSpec;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::container_options::environment;
use super::containers::{containers, exit_byte, running};
use super::session::{escaped, print};
use super::terminal::{self, DetachKeys, RawMode};
use crate::command_error::CommandError;
use crate::context::Context;

/// How long output may still come when the process has ended but another one holds its streams.
const DRAIN: Duration = Duration::from_secs(1);

/// Run a command in a running container
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run it in the background
    #[arg(short, long)]
    pub(super) detach: bool,
    /// Keys that leave it running in the background
    #[arg(long, value_name = "KEYS", default_value = super::terminal::DETACH_KEYS)]
    pub(super) detach_keys: String,
    /// Set an environment variable; without a value it is taken from the environment
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub(super) env: Vec<String>,
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE")]
    pub(super) env_file: Vec<Utf8PathBuf>,
    /// Pass standard input on
    #[arg(short, long)]
    pub(super) interactive: bool,
    /// Give it a terminal
    #[arg(short, long)]
    pub(super) tty: bool,
    /// Run as this user
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(super) user: Option<String>,
    /// Start in this directory
    #[arg(short, long, value_name = "DIR")]
    pub(super) workdir: Option<String>,
    /// Give it all capabilities
    #[arg(long)]
    pub(super) privileged: bool,
    /// Container, by name or id, and the command to run in it
    #[arg(required = true, trailing_var_arg = true, value_names = ["CONTAINER", "COMMAND"], num_args = 2..)]
    pub(super) container_and_command: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    plimsoll_runtime::warm_control_groups();
    let [name, command @ ..] = args.container_and_command.as_slice() else {
        unreachable!("clap wants two at least")
    };
    if !args.detach {
        terminal::check_input(args.interactive, args.tty)?;
    }
    let containers = containers(context)?;
    let container = running(&containers, name)?;
    let process = process(&args, command, &container)?;
    if args.tty && !args.detach {
        let code = with_terminal(&args, &containers, &container, process).await?;
        return code.map_or_else(|| escaped(context), Ok);
    }
    with_pipes(&args, &containers, &container, process).await
}

/// What to run: the container's own user, directory and environment where the flags say nothing.
fn process(args: &Args, command: &[String], container: &Container) -> Result<ProcessSpec, CommandError> {
    let spec = &container.definition.spec;
    let mut env = spec.env.clone();
    for entry in environment(&args.env_file, &args.env)? {
        let name = entry.split('=').next().unwrap_or_default().to_owned();
        env.retain(|known| known.split('=').next() != Some(&name));
        if entry.contains('=') {
            env.push(entry);
        }
    }
    Ok(ProcessSpec {
        args: command.to_vec(),
        env,
        cwd: args.workdir.clone().unwrap_or_else(|| spec.cwd.clone()),
        user: args.user.clone().unwrap_or_else(|| spec.user.clone()),
        tty: args.tty && !args.detach,
        privileged: args.privileged || spec.privileged,
    })
}

/// The process gets pipes, never our own streams: ours may be a terminal it could type on.
async fn with_pipes(
    args: &Args,
    containers: &Containers,
    container: &Container,
    process: ProcessSpec,
) -> Result<ExitCode, CommandError> {
    let pipe = || io::pipe().map_err(|error| CommandError::internal("cannot make a pipe", error));
    if args.detach {
        containers.exec(container, process, &[]).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let ((out, out_end), (err, err_end)) = (pipe()?, pipe()?);
    let (stdin_end, stdin) = if args.interactive {
        let (reader, writer) = pipe()?;
        (OwnedFd::from(reader), Some(writer))
    } else {
        let null = std::fs::File::open("/dev/null")
            .map_err(|error| CommandError::internal("cannot open /dev/null", error))?;
        (null.into(), None)
    };
    let ends = [stdin_end, out_end.into(), err_end.into()];
    let mut exec = containers.exec(container, process, &ends).await?;
    drop(ends);
    if let Some(writer) = stdin {
        std::thread::spawn(move || copy_input(writer));
    }
    let (mut out, mut err) = (pieces(out), pieces(err));
    let copying = async {
        let stdout = async { copy_output(&mut out, io::stdout).await };
        let stderr = async { copy_output(&mut err, io::stderr).await };
        tokio::try_join!(stdout, stderr).map(drop)
    };
    finish(&mut exec, copying).await
}

/// Waits for the process and for what it has written.
async fn finish(
    exec: &mut Exec,
    copying: impl Future<Output = io::Result<()>>,
) -> Result<ExitCode, CommandError> {
    let mut copying = std::pin::pin!(copying);
    let mut copied = false;
    let code = {
        let mut waiting = std::pin::pin!(exec.wait());
        loop {
            tokio::select! {
                code = &mut waiting => break code?,
                result = &mut copying, if !copied => {
                    result?;
                    copied = true;
                }
            }
        }
    };
    if !copied && let Ok(result) = tokio::time::timeout(DRAIN, copying).await {
        result?;
    }
    Ok(ExitCode::from(exit_byte(code)))
}

/// Our terminal in raw mode on one side, the master of the process's terminal on the other. None when the user has left.
async fn with_terminal(
    args: &Args,
    containers: &Containers,
    container: &Container,
    process: ProcessSpec,
) -> Result<Option<ExitCode>, CommandError> {
    let wrong = |error| CommandError::internal("cannot use the terminal", error);
    let mut keys = DetachKeys::parse(&args.detach_keys)?;
    let mut resized = signal(SignalKind::window_change()).map_err(wrong)?;
    let mut exec = containers.exec(container, process, &[]).await?;
    let master = exec.terminal.take().map(std::fs::File::from);
    let master = master.ok_or_else(|| wrong(io::ErrorKind::NotFound.into()))?;
    let (reader, mut writer) = (
        master.try_clone().map_err(wrong)?,
        master.try_clone().map_err(wrong)?,
    );
    let raw = if args.interactive {
        RawMode::enter().map_err(wrong)?
    } else {
        None
    };
    let mut output = pieces(reader);
    let interactive = args.interactive;
    let typing = async {
        let mut typed = if interactive {
            Some(terminal::input())
        } else {
            None
        };
        while let Some(bytes) = match &mut typed {
            Some(typed) => typed.recv().await,
            None => None,
        } {
            let (bytes, detach) = keys.filter(&bytes);
            if writer.write_all(&bytes).is_err() {
                break;
            }
            if detach {
                return;
            }
        }
        std::future::pending().await
    };
    let sizing = async {
        loop {
            if let Some((rows, columns)) = terminal::size() {
                let size = rustix::termios::Winsize {
                    ws_row: rows,
                    ws_col: columns,
                    ws_xpixel: 0,
                    ws_ypixel: 0,
                };
                let _ = rustix::termios::tcsetwinsize(&master, size);
            }
            resized.recv().await;
        }
    };
    let code = tokio::select! {
        code = finish(&mut exec, copy_output(&mut output, io::stdout)) => code.map(Some),
        () = typing => Ok(None),
        () = sizing => Ok(None),
    };
    drop(raw);
    code
}

/// Reads on a thread: a pipe that another process keeps open must not keep us from ending.
fn pieces(mut source: impl io::Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(4);
    std::thread::spawn(move || {
        let mut buffer = vec![0; 32 << 10];
        loop {
            match source.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // EIO is how a terminal ends.
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    if sender.blocking_send(buffer[..count].to_vec()).is_err() {
                        return;
                    }
                }
            }
        }
    });
    receiver
}

async fn copy_output<W: Write + 'static>(
    pieces: &mut mpsc::Receiver<Vec<u8>>,
    stream: fn() -> W,
) -> io::Result<()> {
    let mut open = true;
    while let Some(bytes) = pieces.recv().await {
        open = open && print(stream, bytes).await?;
    }
    Ok(())
}

fn copy_input(mut writer: io::PipeWriter) {
    let mut buffer = vec![0; 32 << 10];
    loop {
        match io::stdin().lock().read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => return,
            Ok(count) => {
                if writer.write_all(&buffer[..count]).is_err() {
                    return;
                }
            }
        }
    }
}
