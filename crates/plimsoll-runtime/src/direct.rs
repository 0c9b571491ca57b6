//! Containers without a library in between, in a few hundred system calls: build steps, and containers as people run
//! them.
//!
//! It wants Linux 5.12 and a root with its usual capabilities. What it does not cover goes through
//! [`crate::libcontainer`]; both read the same OCI spec and pass the same tests. Users of a container's own are only
//! here ([`crate::id_map`]).
//!
//! ```text
//! runner or shim                             child (clone3: own mounts, pids, ipc, uts)
//!   control groups, filter, overlay            joins the groups and the network
//!   clone3 ----------------------------------> mounts everything by descriptor onto the overlay   [mounts]
//!   (publishes ports meanwhile) -- go ------->  pivot_root, limits; streams, user, filter          [child, process]
//!   reads the report: silence is success       becomes the program
//!   waits, removes the group
//! ```
//! The overlay is never part of the maker's own mount namespace, so nothing is left of it when the child and the
//! descriptor are gone, and one runner can serve many steps. The maker has one thread, so ordinary Rust is fine in the
//! child.

mod child;
mod container;
mod filter;
pub(crate) mod groups;
mod mounts;
mod namespaces;
mod process;
mod propagation;

pub(crate) use container::DirectContainer;

use crate::cgroup::{Cgroup, systemd};
use crate::container_spec::{ContainerSpec, MountKind};
use crate::hooks::{self, Hooks, Meeting};
use crate::host::Host;
use crate::id_map::Users;
use crate::libcontainer::network;
use crate::program::Report;
use crate::root::Root;
use crate::{Namespaces, RuntimeError, Stdio, program, rootfs, spec, user};
use namespaces::{Places, clone_among};
use plimsoll_linux::Cloned;
use rustix::process::PidfdFlags;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

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
    pub(crate) joined: &'a Namespaces,
    /// Where the container has its own: those with whom `root` was mounted.
    /// The files of images, in the order of the specification.
    pub(crate) images: &'a [OwnedFd],
    pub(crate) users: Option<&'a Users>,
    pub(crate) hooks: Option<&'a Hooks>,
    pub(crate) stdio: Stdio,
}

/// A program that has been started.
pub(crate) struct Running {
    pub(crate) pidfd: OwnedFd,
    pub(crate) warnings: Vec<String>,
    cgroup: Cgroup,
}

/// A child on its way to its program.
struct Launched {
    pid: i32,
    pidfd: OwnedFd,
    warnings: Vec<String>,
    cgroup: Cgroup,
    report: Report,
    /// As it was resolved in its root.
    request: ContainerSpec,
}

impl Direct {
    /// Compiled filters are kept in the folder `filters` for other processes.
    pub(crate) fn new(filters: PathBuf) -> Result<Self, RuntimeError> {
        let caller = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty());
        Ok(Self {
            host: Host::detect()?,
            filters: filter::Cache::new(filters),
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
            && options.all(|option| mounts::knows(option))
            && groups::hierarchies(&self.host.hierarchies, spec).is_some()
    }

    /// Starts the program of a step. Where that fails nothing is left but what was made in the root.
    pub(crate) fn start(&mut self, step: Step<'_>) -> Result<Running, RuntimeError> {
        let needed = groups::hierarchies(&self.host.hierarchies, step.spec);
        let hierarchies = needed.ok_or(RuntimeError::Misuse("this container is not covered"))?;
        let host = Host {
            hierarchies,
            ..self.host.clone()
        };
        let launched = self.launch(step, &host, None)?;
        match launched.report.read() {
            Ok(()) => Ok(Running {
                pidfd: launched.pidfd,
                warnings: launched.warnings,
                cgroup: launched.cgroup,
            }),
            Err(error) => {
                reap(&launched.pidfd);
                launched.cgroup.remove()?;
                Err(error)
            }
        }
    }

    /// The child, which waits for `go` where there is one.
    fn launch(&mut self, step: Step<'_>, host: &Host, go: Option<OwnedFd>) -> Result<Launched, RuntimeError> {
        network::check(&step.spec.network, step.joined)?;
        let identity = user::of_container(step.root, step.spec)?;
        if let Some(users) = step.users {
            users.map.check_user(&identity)?;
        }
        let request = rootfs::prepare(step.root, step.spec)?;
        // The paths of namespaces are not used: the child joins them by their descriptors.
        let mapped = spec::container(
            &request,
            &identity,
            &step.hooks.map_or("/".into(), Hooks::root),
            &spec::Paths::of(step.joined),
            host,
        )?;
        let linux = mapped.spec.linux().as_ref().expect("the mapping sets it");
        let filter = linux.seccomp().as_ref().map(|filter| self.filters.get(filter));
        let filter = filter.transpose()?;
        if !host.hierarchies.is_none() {
            systemd::enter_scope(&request.cgroup)?;
        }
        let (maker, child) = match step.hooks {
            Some(hooks) => {
                hooks.describe(&mapped.spec)?;
                Meeting::new(hooks)?.unzip()
            }
            None => (None, None),
        };
        let cgroup = Cgroup::new(&host.hierarchies, &request.cgroup)?;
        let membership = groups::make(&cgroup, &host.hierarchies, linux);
        let started = membership.and_then(|membership| {
            let init = child::Init {
                spec: &mapped.spec,
                root: step.root,
                images: request
                    .images
                    .iter()
                    .map(|image| image.rootfs.upper.as_path())
                    .zip(step.images)
                    .collect(),
                places: Places::of(&request),
                joined: step.joined,
                reaper: request.init,
                hooks: step.hooks.map(|hooks| child::HooksOfInit {
                    hooks,
                    meeting: child,
                }),
                go,
                common: child::Common {
                    groups: &membership.joined,
                    caller: &self.caller,
                    stdio: &step.stdio,
                    filter: filter.as_deref(),
                    users: step.users,
                },
            };
            start(init, membership.into)
        });
        let started = started.and_then(|(pid, pidfd, report)| match maker.zip(step.hooks) {
            Some((meeting, hooks)) => match meeting.hold(hooks, pid) {
                Ok(()) => Ok((pid, pidfd, report)),
                Err(error) => {
                    hooks::give_up(&pidfd);
                    reap(&pidfd);
                    Err(error)
                }
            },
            None => Ok((pid, pidfd, report)),
        });
        match started {
            Ok((pid, pidfd, report)) => Ok(Launched {
                pid,
                pidfd,
                warnings: mapped.warnings,
                cgroup,
                report,
                request,
            }),
            Err(error) => {
                cgroup.remove()?;
                Err(error)
            }
        }
    }
}

fn start(init: child::Init<'_>, cgroup: Option<OwnedFd>) -> Result<(i32, OwnedFd, Report), RuntimeError> {
    let (report, write) = program::report()?;
    let among = init.joined.pid.as_ref().map(AsFd::as_fd);
    match clone_among(among, init.places.born, cgroup.as_ref().map(AsFd::as_fd))? {
        Cloned::Child => {
            // Directories of the host must not stay open: a program named `/proc/self/fd/N/../..` would get out by one.
            drop(cgroup);
            init.main(&write)
        }
        Cloned::Parent { pid, pidfd } => Ok((pid, pidfd, report)),
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
