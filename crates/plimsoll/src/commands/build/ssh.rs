//! `--ssh`: sockets of agents, and agents of our own for key files.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use plimsoll_linux::CommandExt as _;
use rustix::process::Signal;

use crate::command_error::CommandError;
use crate::env;

/// Time an agent may take until it listens.
const START: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(5);

/// The agents that RUN may use, by id. Those started here for key files end when this is dropped.
#[derive(Default)]
pub(super) struct Agents {
    pub(super) sockets: BTreeMap<String, PathBuf>,
    own: Vec<OwnAgent>,
}

/// An `ssh-agent` of this build and the folder of its socket.
struct OwnAgent {
    process: Child,
    folder: PathBuf,
}

impl Agents {
    /// Reads `default`, `ID=SOCKET` and `ID=KEY[,KEY]`.
    pub(super) fn of(specs: &[String]) -> Result<Self, CommandError> {
        let mut agents = Self::default();
        for spec in specs {
            let (id, given) = spec.split_once('=').unwrap_or((spec, ""));
            let socket = match given {
                "" => of_environment(spec)?,
                paths => agents.of_paths(spec, paths)?,
            };
            agents.sockets.insert(id.to_owned(), socket);
        }
        Ok(agents)
    }

    fn of_paths(&mut self, spec: &str, paths: &str) -> Result<PathBuf, CommandError> {
        let paths: Vec<&Path> = paths.split(',').map(Path::new).collect();
        for path in &paths {
            let found = std::fs::metadata(path).map_err(|error| {
                CommandError::user(format!(
                    "cannot use `{}` of `--ssh {spec}`: {error}",
                    path.display()
                ))
            })?;
            if found.file_type().is_socket() && paths.len() == 1 {
                return Ok((*path).to_owned());
            }
            if !found.is_file() {
                let what = format!(
                    "`{}` of `--ssh {spec}` is neither a key file nor the socket of an agent",
                    path.display()
                );
                return Err(CommandError::user(what));
            }
        }
        let (agent, socket) = OwnAgent::start().map_err(|error| missing_program(spec, error))?;
        self.own.push(agent);
        paths.iter().try_for_each(|key| add_key(spec, key, &socket))?;
        Ok(socket)
    }
}

fn of_environment(spec: &str) -> Result<PathBuf, CommandError> {
    let socket = env::var(env::SSH_AUTH_SOCK).ok_or_else(|| {
        CommandError::user(format!(
            "`--ssh {spec}` needs an ssh agent, and SSH_AUTH_SOCK is not set"
        ))
        .hint(
            "start one with `eval $(ssh-agent)` and `ssh-add`, or name a socket or key: `--ssh default=FILE`",
        )
    })?;
    match std::fs::metadata(&socket) {
        Ok(found) if found.file_type().is_socket() => Ok(socket.into()),
        Ok(_) => Err(CommandError::user(format!(
            "SSH_AUTH_SOCK names `{socket}`, which is no socket"
        ))),
        Err(error) => Err(CommandError::user(format!(
            "cannot use `{socket}` of SSH_AUTH_SOCK: {error}"
        ))),
    }
}

impl OwnAgent {
    /// Starts an agent that ends with this process, and waits until it listens.
    fn start() -> io::Result<(Self, PathBuf)> {
        let folder = private_folder()?;
        let socket = folder.join("agent.sock");
        let started = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(&socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .die_with_parent(Signal::TERM)
            .spawn();
        let process = started.inspect_err(|_| drop(std::fs::remove_dir(&folder)))?;
        let agent = Self { process, folder };
        let until = Instant::now() + START;
        while !socket.exists() {
            if Instant::now() > until {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "ssh-agent does not answer",
                ));
            }
            std::thread::sleep(POLL);
        }
        Ok((agent, socket))
    }
}

/// A new folder that only this user may enter; short, since a socket's path may have 107 bytes at most.
fn private_folder() -> io::Result<PathBuf> {
    for number in 0..1000 {
        let folder = PathBuf::from(format!("/tmp/plimsoll-ssh-{}-{number}", std::process::id()));
        match std::fs::DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|()| folder),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

impl Drop for OwnAgent {
    fn drop(&mut self) {
        // The process may have ended already, and the folder is empty once its socket is gone.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Gives a key to an agent; a passphrase is asked for on the terminal.
fn add_key(spec: &str, key: &Path, socket: &Path) -> Result<(), CommandError> {
    let output = Command::new("ssh-add")
        .arg("-q")
        .arg(key)
        .env(env::SSH_AUTH_SOCK, socket)
        .stdin(Stdio::inherit())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .and_then(Child::wait_with_output)
        .map_err(|error| missing_program(spec, error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let reason = said
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("; ");
    Err(CommandError::user(format!(
        "the key `{}` of `--ssh {spec}` is not usable: {reason}",
        key.display()
    )))
}

fn missing_program(spec: &str, error: io::Error) -> CommandError {
    let failed = CommandError::internal(format!("cannot start an ssh agent for `--ssh {spec}`"), error);
    failed.hint("key files need OpenSSH's programs: `apt-get install openssh-client`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_key_and_no_socket_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().to_owned(), folder.path().join("missing")] {
            let error = Agents::of(&[format!("default={}", path.display())])
                .err()
                .expect("it is refused");
            assert!(error.to_text().contains(&path.display().to_string()));
        }
    }

    #[test]
    fn a_key_file_gets_an_agent_that_ends() {
        plimsoll_testkit::needs!(tool = "ssh-agent", tool = "ssh-keygen");
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&key)
            .status();
        assert!(made.unwrap().success());
        let agents = Agents::of(&[format!("github={}", key.display())]).expect("an agent");
        let socket = agents.sockets["github"].clone();
        let listed = Command::new("ssh-add")
            .arg("-l")
            .env("SSH_AUTH_SOCK", &socket)
            .output()
            .unwrap();
        assert!(
            String::from_utf8_lossy(&listed.stdout).contains("ED25519"),
            "{listed:?}"
        );
        drop(agents);
        assert!(!socket.exists());
    }
}
