//! Containers without a library in between: a build step in a few hundred system calls.
//!
//! It covers what RUN needs and nothing else: no terminal, no further processes, no user namespace, Linux 5.12. What
//! it does not cover goes through [`crate::libcontainer`]; both read the same OCI spec and pass the same tests.
//!
//! ```text
//! runner                                     child (clone3: own mounts, pids, ipc, uts)
//!   control group, filter, overlay             joins the groups and the network
//!   clone3 ----------------------------------> mounts everything by descriptor onto the overlay   [mounts]
//!   reads the report: silence is success       pivot_root, limits, user, filter, capabilities     [child]
//!   waits, removes the group                   becomes the program
//! ```
//! The overlay is never part of the runner's own mount namespace, so nothing is left of it when the child and the
//! descriptor are gone, and one runner can serve many steps. It has one thread, so ordinary Rust is fine in the child.

mod child;
mod filter;
mod groups;
mod mounts;

use crate::cgroup::Cgroup;
use crate::container_spec::{ContainerSpec, MountKind};
use crate::host::Host;
use crate::libcontainer::network;
use crate::root::Root;
use crate::{RuntimeError, program, rootfs, spec, user};
use plimsoll_linux::{Cloned, UnshareFlags, clone_process};
use rustix::process::PidfdFlags;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// What one process needs to make many containers, one after the other.
pub(crate) struct Direct {
    host: Host,
    filters: filter::Cache,
    /// This process, for its children to see its end by.
    caller: OwnedFd,
}

/// One program to run.
pub(crate) struct Step<'a> {
    pub(crate) spec: &'a ContainerSpec,
    pub(crate) root: &'a Root,
    /// For [`crate::NetworkNamespace::Given`].
    pub(crate) netns: Option<&'a OwnedFd>,
    /// Standard input, output and error.
    pub(crate) stdio: [OwnedFd; 3],
}

/// A program that has been started.
pub(crate) struct Running {
    pub(crate) pidfd: OwnedFd,
    pub(crate) warnings: Vec<String>,
    cgroup: Cgroup,
}

impl Direct {
    pub(crate) fn new() -> Result<Self, RuntimeError> {
        let caller = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty());
        Ok(Self {
            host: Host::detect()?,
            filters: filter::Cache::default(),
            caller: caller.map_err(io::Error::from)?,
        })
    }

    /// Whether this path can do what is asked for, on this machine.
    pub(crate) fn covers(&self, spec: &ContainerSpec) -> bool {
        let binds = spec.mounts.iter().filter(|mount| mount.kind == MountKind::Bind);
        let mut options = binds.flat_map(|mount| &mount.options);
        self.host.kernel >= (5, 12)
            && ["SYS_ADMIN", "MKNOD", "SETPCAP", "SETUID", "SETGID"]
                .iter()
                .all(|capability| self.host.holds(capability))
            && !spec.tty
            && options.all(|option| mounts::knows(option))
            && groups::hierarchies(&self.host.hierarchies, spec).is_some()
    }

    /// Starts the program. Where that fails nothing is left but what was made in the root.
    pub(crate) fn start(&mut self, step: Step<'_>) -> Result<Running, RuntimeError> {
        let mut host = self.host.clone();
        host.hierarchies = groups::hierarchies(&self.host.hierarchies, step.spec)
            .ok_or(RuntimeError::Misuse("this container is not covered"))?;
        let identity = user::lookup(step.root, &step.spec.user, &step.spec.group_add)?;
        let request = rootfs::prepare(step.root, step.spec)?;
        let netns = network::namespace(&request.network, step.netns)?;
        // The path of the namespace is not used: the child joins it by its descriptor.
        let path = netns.as_ref().map(|_| Path::new("/proc/self/ns/net"));
        let mapped = spec::container(&request, &identity, Path::new("/"), path, &host)?;
        let linux = mapped.spec.linux().as_ref().expect("the mapping sets it");
        let filter = linux.seccomp().as_ref().map(|filter| self.filters.get(filter));
        let filter = filter.transpose()?;
        let cgroup = Cgroup::new(&host.hierarchies, &request.cgroup)?;
        let membership = groups::make(&cgroup, &host.hierarchies, linux, request.privileged);
        let started = membership.and_then(|membership| {
            let init = child::Init {
                spec: &mapped.spec,
                root: step.root,
                groups: &membership.joined,
                netns: netns.as_ref(),
                caller: &self.caller,
                stdio: &step.stdio,
                filter: filter.as_deref(),
            };
            start(&init, membership.into)
        });
        match started {
            Ok(pidfd) => Ok(Running {
                pidfd,
                warnings: mapped.warnings,
                cgroup,
            }),
            Err(error) => {
                cgroup.remove()?;
                Err(error)
            }
        }
    }
}

fn start(init: &child::Init<'_>, cgroup: Option<OwnedFd>) -> Result<OwnedFd, RuntimeError> {
    let (report, write) = program::report()?;
    let namespaces = UnshareFlags::NEWNS | UnshareFlags::NEWUTS | UnshareFlags::NEWIPC | UnshareFlags::NEWPID;
    match clone_process(namespaces, cgroup.as_ref().map(AsFd::as_fd))? {
        Cloned::Child => {
            // The only directory of the host that is open: a program named `/proc/self/fd/N/../..` would get out by it.
            drop(cgroup);
            child::main(init, &write)
        }
        Cloned::Parent { pidfd } => {
            drop(write);
            match report.read() {
                Ok(()) => Ok(pidfd),
                Err(error) => {
                    reap(&pidfd);
                    Err(error)
                }
            }
        }
    }
}

impl Running {
    /// Kills what is left and takes the control group away; true if the kernel killed a process for want of memory.
    pub(crate) fn finish(self) -> Result<bool, RuntimeError> {
        // The first process takes its whole namespace with it, and is gone when it has been waited for.
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, rustix::process::Signal::KILL);
        reap(&self.pidfd);
        let oom_killed = self.cgroup.oom_killed();
        self.cgroup.remove()?;
        Ok(oom_killed)
    }
}

/// Waits for the end; fine when somebody has.
fn reap(pidfd: &OwnedFd) {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    while let Err(rustix::io::Errno::INTR) = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {}
}
