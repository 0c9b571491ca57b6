//! The last steps before the program: in the container, as its user, in the process that becomes it.

use crate::RuntimeError;
use crate::program::{self, Report};
use libcontainer::capabilities::drop_privileges;
use libcontainer::seccomp::initialize_seccomp;
use libcontainer::syscall::syscall::create_syscall;
use libcontainer::workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError};
use oci_spec::runtime::{LinuxCapabilities, LinuxSeccomp, Spec};
use rustix::process::PidfdFlags;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::rc::Rc;

/// Runs in the child; what it holds was opened by the caller.
#[derive(Clone)]
pub(super) struct Launch {
    /// The process that made the container.
    caller: Rc<OwnedFd>,
    /// Closes at exec; carries a failure where that fails.
    report: Rc<OwnedFd>,
    /// What the library does not do for a further process.
    confinement: Option<Rc<(LinuxCapabilities, Option<LinuxSeccomp>)>>,
    /// Whether the first process keeps the program, and if so whether they have a terminal.
    reaper: Option<bool>,
}

impl Launch {
    pub(super) fn new(
        confinement: Option<(LinuxCapabilities, Option<LinuxSeccomp>)>,
        reaper: Option<bool>,
    ) -> Result<(Self, Report), RuntimeError> {
        let (report, write) = program::report()?;
        let caller = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty());
        let launch = Self {
            caller: Rc::new(caller.map_err(io::Error::from)?),
            report: Rc::new(write),
            confinement: confinement.map(Rc::new),
            reaper,
        };
        Ok((launch, report))
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
}

impl Executor for Launch {
    /// Called before the wait for the start, so that a process waiting for ever is not left behind.
    fn validate(&self, _: &Spec) -> Result<(), ExecutorValidationError> {
        let confined = self.confine().and_then(|()| program::die_with(&self.caller));
        confined.map_err(ExecutorValidationError::ArgValidationError)
    }

    /// The program gets its environment with exec, in the order it has.
    fn setup_envs(&self, _: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        Ok(())
    }

    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let process = spec.process().as_ref().ok_or(ExecutorError::InvalidArg)?;
        let args = process.args().as_ref().ok_or(ExecutorError::InvalidArg)?;
        if let Some(terminal) = self.reaper {
            plimsoll_linux::be_init(terminal, || Ok::<(), std::io::Error>(()))
                .map_err(|error| ExecutorError::Other(error.to_string()))?;
        }
        let failure = program::run(args, process.env().as_deref().unwrap_or_default(), &self.report);
        let mut report = File::from(
            self.report
                .try_clone()
                .map_err(|error| ExecutorError::Other(error.to_string()))?,
        );
        report
            .write_all(&failure.to_bytes())
            .map_err(|error| ExecutorError::Other(error.to_string()))?;
        Err(ExecutorError::Other(failure.message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_report_is_success() {
        let (launch, report) = Launch::new(None, None).unwrap();
        program::die_with(&launch.caller).err();
        drop(launch);
        report.read().unwrap();
    }
}
