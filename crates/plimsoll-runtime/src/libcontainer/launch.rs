//! The last steps before the program: in the container, as its user, in the process that becomes it.

use crate::RuntimeError;
use libcontainer::capabilities::drop_privileges;
use libcontainer::seccomp::initialize_seccomp;
use libcontainer::syscall::syscall::create_syscall;
use libcontainer::workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError};
use oci_spec::runtime::{LinuxCapabilities, LinuxSeccomp, Spec};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Access, AtFlags, CWD, FileType, accessat, stat};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{PidfdFlags, Signal};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::rc::Rc;

/// Runs in the child; what it holds was opened by the caller.
#[derive(Clone)]
pub(super) struct Launch {
    /// The process that made the container.
    caller: Rc<OwnedFd>,
    /// Closes at exec; carries a [`Failure`] where that fails.
    report: Rc<OwnedFd>,
    /// What the library does not do for a further process.
    confinement: Option<Rc<(LinuxCapabilities, Option<LinuxSeccomp>)>>,
}

/// The caller's end: silent when the program runs.
pub(super) struct Report(OwnedFd);

/// Why a program did not start, in Docker's words.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Failure {
    message: String,
    exit_code: i32,
}

impl Launch {
    pub(super) fn new(
        confinement: Option<(LinuxCapabilities, Option<LinuxSeccomp>)>,
    ) -> Result<(Self, Report), RuntimeError> {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from)?;
        let caller = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty());
        let launch = Self {
            caller: Rc::new(caller.map_err(io::Error::from)?),
            report: Rc::new(write),
            confinement: confinement.map(Rc::new),
        };
        Ok((launch, Report(read)))
    }

    /// The filter first: loading it is a privilege that dropping capabilities gives up.
    fn confine(&self) -> Result<(), String> {
        let Some(confinement) = &self.confinement else {
            return Ok(());
        };
        let (capabilities, filter) = confinement.as_ref();
        if let Some(filter) = filter {
            initialize_seccomp(filter)
                .map_err(|error| format!("cannot load the system call filter: {error}"))?;
        }
        drop_privileges(capabilities, create_syscall().as_ref())
            .map_err(|error| format!("cannot drop capabilities: {error}"))
    }

    /// A process must not outlive the one that answers for it. After the last change of user, which would clear it;
    /// and the caller may have died before it was set, which its descriptor tells.
    fn die_with_caller(&self) -> Result<(), String> {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
            .map_err(|error| format!("cannot be tied to the runtime: {error}"))?;
        let mut fds = [PollFd::new(&self.caller, PollFlags::IN)];
        match poll(
            &mut fds,
            Some(&Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            }),
        ) {
            Ok(0) => Ok(()),
            _ => Err("the runtime has ended".to_owned()),
        }
    }
}

impl Executor for Launch {
    /// Called before the wait for the start, so that a process waiting for ever is not left behind.
    fn validate(&self, _: &Spec) -> Result<(), ExecutorValidationError> {
        let confined = self.confine().and_then(|()| self.die_with_caller());
        confined.map_err(ExecutorValidationError::ArgValidationError)
    }

    /// The program gets its environment with exec, in the order it has.
    fn setup_envs(&self, _: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        Ok(())
    }

    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let process = spec.process().as_ref().ok_or(ExecutorError::InvalidArg)?;
        let args = process.args().as_ref().ok_or(ExecutorError::InvalidArg)?;
        let failure = run(args, process.env().as_deref().unwrap_or_default());
        let text = serde_json::to_vec(&failure).map_err(|error| ExecutorError::Other(error.to_string()))?;
        let mut report = File::from(
            self.report
                .try_clone()
                .map_err(|error| ExecutorError::Other(error.to_string()))?,
        );
        report
            .write_all(&text)
            .map_err(|error| ExecutorError::Other(error.to_string()))?;
        Err(ExecutorError::Other(failure.message))
    }
}

impl Report {
    /// Waits until the program runs or has failed to. Every other holder of the writing end must be gone.
    pub(super) fn read(self) -> Result<(), RuntimeError> {
        let mut text = String::new();
        File::from(self.0).read_to_string(&mut text)?;
        if text.is_empty() {
            return Ok(());
        }
        let failure: Failure = serde_json::from_str(&text).map_err(io::Error::from)?;
        Err(RuntimeError::Program {
            message: failure.message,
            exit_code: failure.exit_code,
        })
    }
}

/// Becomes the program, or says why not.
fn run(args: &[String], env: &[String]) -> Failure {
    let Some(name) = args.first() else {
        return Failure::new(126, "no command specified".to_owned());
    };
    let path = env
        .iter()
        .find_map(|entry| entry.strip_prefix("PATH="))
        .unwrap_or("");
    let program = match find(name, path) {
        Ok(program) => program,
        Err(failure) => return failure,
    };
    let texts = |list: &[String]| {
        list.iter()
            .map(|text| CString::new(text.as_str()))
            .collect::<Result<Vec<_>, _>>()
    };
    let (Ok(program_text), Ok(args), Ok(env)) = (CString::new(program.as_str()), texts(args), texts(env))
    else {
        return Failure::new(126, format!("exec {program}: invalid argument"));
    };
    let error = match plimsoll_linux::reset_signals() {
        Ok(()) => plimsoll_linux::exec(&program_text, &args, &env),
        Err(error) => error,
    };
    // The file is there: what is not found is the interpreter it names.
    let exit_code = if error.kind() == io::ErrorKind::NotFound {
        127
    } else {
        126
    };
    Failure::new(exit_code, format!("exec {program}: {}", reason(&error)))
}

/// As Go's LookPath, which Docker's words come from: in PATH only what can be executed counts as found.
fn find(name: &str, path: &str) -> Result<String, Failure> {
    if name.contains('/') {
        return match executable(name) {
            Ok(()) => Ok(name.to_owned()),
            Err(Errno::NOENT) => Err(Failure::new(
                127,
                format!("exec: {name:?}: stat {name}: no such file or directory"),
            )),
            Err(error) => Err(Failure::new(
                126,
                format!("exec: {name:?}: {}", reason(&error.into())),
            )),
        };
    }
    let folders = path
        .split(':')
        .map(|folder| if folder.is_empty() { "." } else { folder });
    let candidates = folders.map(|folder| format!("{}/{name}", folder.trim_end_matches('/')));
    match candidates
        .into_iter()
        .find(|candidate| !name.is_empty() && executable(candidate).is_ok())
    {
        Some(program) => Ok(program),
        None => Err(Failure::new(
            127,
            format!("exec: {name:?}: executable file not found in $PATH"),
        )),
    }
}

fn executable(path: &str) -> Result<(), Errno> {
    let found = stat(path)?;
    if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
        return Err(Errno::ISDIR);
    }
    accessat(CWD, path, Access::EXEC_OK, AtFlags::empty())?;
    // Root passes the check above for a file nobody may execute on some file systems.
    if found.st_mode & 0o111 == 0 {
        Err(Errno::ACCESS)
    } else {
        Ok(())
    }
}

/// The kernel's words without Rust's "(os error 13)".
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

impl Failure {
    fn new(exit_code: i32, message: String) -> Self {
        Self { message, exit_code }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn programs_are_found_as_docker_finds_them() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str, mode: u32| {
            let path = folder.path().join(name);
            std::fs::write(&path, "#!/bin/sh\n").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (good, plain) = (make("good", 0o755), make("plain", 0o644));
        let here = folder.path().to_str().unwrap();
        assert_eq!(find("good", &format!("/none:{here}")), Ok(good.clone()));
        assert_eq!(find(&good, ""), Ok(good));
        let message = |name: &str| find(name, here).map_err(|failure| (failure.exit_code, failure.message));
        assert_eq!(
            message("foo"),
            Err((127, "exec: \"foo\": executable file not found in $PATH".into()))
        );
        assert_eq!(
            message("plain"),
            Err((127, "exec: \"plain\": executable file not found in $PATH".into()))
        );
        assert_eq!(
            message(""),
            Err((127, "exec: \"\": executable file not found in $PATH".into()))
        );
        assert_eq!(
            message("/no"),
            Err((127, "exec: \"/no\": stat /no: no such file or directory".into()))
        );
        assert_eq!(
            message(&plain),
            Err((126, format!("exec: {plain:?}: permission denied")))
        );
        assert_eq!(message("/"), Err((126, "exec: \"/\": is a directory".into())));
    }

    #[test]
    fn a_silent_report_is_success() {
        let (launch, report) = Launch::new(None).unwrap();
        launch.die_with_caller().err();
        drop(launch);
        report.read().unwrap();
    }
}
