//! Becoming the program of a container, or saying in Docker's words why not.

use crate::RuntimeError;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Access, AtFlags, CWD, FileType, accessat, stat};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

/// The caller's end: silent when the program runs.
pub(crate) struct Report(OwnedFd);

/// Why a program did not start, in Docker's words.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) message: String,
    pub(crate) exit_code: i32,
}

/// The pipe between them: what the child writes in its end is a [`Failure`]; it closes at exec.
pub(crate) fn report() -> io::Result<(Report, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    Ok((Report(read), write))
}

/// A process must not outlive the one that answers for it. After the last change of user, which would clear it; and
/// the caller may have died before it was set, which its descriptor tells.
pub(crate) fn die_with(caller: &OwnedFd) -> Result<(), String> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| format!("cannot be tied to the runtime: {error}"))?;
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    match poll(&mut [PollFd::new(caller, PollFlags::IN)], Some(&now)) {
        Ok(0) => Ok(()),
        _ => Err("the runtime has ended".to_owned()),
    }
}

impl Report {
    /// Waits until the program runs or has failed to. Every other holder of the writing end must be gone.
    pub(crate) fn read(self) -> Result<(), RuntimeError> {
        let mut text = String::new();
        File::from(self.0).read_to_string(&mut text)?;
        if text.is_empty() {
            return Ok(());
        }
        let Failure { message, exit_code } = serde_json::from_str(&text).map_err(io::Error::from)?;
        Err(match exit_code {
            126 | 127 => RuntimeError::Program { message, exit_code },
            _ => RuntimeError::Container {
                operation: "create",
                detail: message,
            },
        })
    }
}

/// Becomes the program, or says why not: what is seen before by the result, what the kernel says in `report`, after
/// which the process has ended.
pub(crate) fn run(args: &[String], env: &[String], report: &OwnedFd) -> Failure {
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
    if let Err(error) = plimsoll_linux::reset_signals() {
        return Failure::of_exec(&program, &error);
    }
    plimsoll_linux::exec_or_tell(&program_text, &args, &env, report, |error| {
        Failure::of_exec(&program, error).to_bytes()
    })
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
    fn of_exec(program: &str, error: &io::Error) -> Self {
        // The file is there: what is not found is the interpreter it names.
        let exit_code = if error.kind() == io::ErrorKind::NotFound {
            127
        } else {
            126
        };
        Self::new(exit_code, format!("exec {program}: {}", reason(error)))
    }

    /// As [`Report`] reads it.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("it has no keys but texts")
    }

    pub(crate) fn new(exit_code: i32, message: String) -> Self {
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
}
