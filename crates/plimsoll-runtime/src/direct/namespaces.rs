//! Which namespaces a container is born into, which it joins, and which it shares with the host.

use super::process::failed;
use crate::container_spec::{ContainerSpec, Ipc, NetworkNamespace, Sharing};
use crate::libcontainer::network::raise_loopback;
use crate::privilege::in_user_namespace;
use crate::{Namespaces, RuntimeError};
use plimsoll_linux::{Cloned, UnshareFlags, clone_process, clone_sibling, exit_now};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// The plan of one container.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    /// Made by clone.
    pub(super) born: UnshareFlags,
    /// Made once the groups are joined.
    pub(super) new_cgroup: bool,
}

impl Places {
    pub(super) fn of(spec: &ContainerSpec) -> Self {
        let new = |kind, wanted| if wanted { kind } else { UnshareFlags::empty() };
        let born = UnshareFlags::NEWNS
            | new(UnshareFlags::NEWUTS, spec.uts == Sharing::Own)
            | new(UnshareFlags::NEWIPC, matches!(spec.ipc, Ipc::Own | Ipc::NoShm))
            | new(UnshareFlags::NEWPID, spec.pid == Sharing::Own)
            | new(UnshareFlags::NEWNET, spec.network == NetworkNamespace::None);
        Self {
            born,
            new_cgroup: spec.cgroupns == Sharing::Own,
        }
    }

    pub(super) fn own_uts(self) -> bool {
        self.born.contains(UnshareFlags::NEWUTS)
    }

    /// In the child.
    pub(super) fn enter(self, joined: &Namespaces) -> Result<(), RuntimeError> {
        if self.born.contains(UnshareFlags::NEWNET) {
            raise_loopback()?;
        }
        let given = [
            (&joined.network, LinkNameSpaceType::Network),
            (&joined.ipc, LinkNameSpaceType::InterProcessCommunication),
        ];
        for (namespace, kind) in given {
            if let Some(namespace) = namespace {
                move_into_link_name_space(namespace.as_fd(), Some(kind))
                    .map_err(failed("join a namespace"))?;
            }
        }
        Ok(())
    }
}

/// Makes a child (see [`clone_process`]) that is born among the processes `pids`, where they are given.
pub(super) fn clone_among(
    pids: Option<BorrowedFd<'_>>,
    new: UnshareFlags,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Cloned, RuntimeError> {
    if let Some(pids) = pids.filter(|_| in_user_namespace()) {
        return clone_by_another(pids, new, cgroup);
    }
    let born_into = BornInto::new(pids.as_ref())?;
    let cloned = clone_process(new, cgroup)?;
    if let Cloned::Child = cloned {
        // The way back is the parent's, and the directory must not stay open.
        born_into.forget();
    }
    Ok(cloned)
}

/// An ordinary user may go among the processes of a container, but not back among the machine's. So one goes who has
/// nothing else to do, and makes a child for us.
fn clone_by_another(
    pids: BorrowedFd<'_>,
    new: UnshareFlags,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Cloned, RuntimeError> {
    let (mut told, mut tell) = io::pipe()?;
    match clone_process(UnshareFlags::empty(), None)? {
        Cloned::Child => {
            let made = move_into_link_name_space(pids, Some(LinkNameSpaceType::ProcessID))
                .map_err(io::Error::from)
                .and_then(|()| clone_sibling(new, cgroup));
            let number = match made {
                Ok(Cloned::Child) => return Ok(Cloned::Child),
                Ok(Cloned::Parent { pid, .. }) => pid,
                Err(error) => -error.raw_os_error().unwrap_or(Errno::IO.raw_os_error()),
            };
            let _ = tell.write_all(&number.to_ne_bytes());
            exit_now(0)
        }
        Cloned::Parent { pidfd, .. } => {
            drop(tell);
            let mut number = [0; 4];
            let read = told.read_exact(&mut number);
            super::reap(&pidfd);
            read?;
            let pid = i32::from_ne_bytes(number);
            // It is our own child, so the number is its own until we have waited for it.
            let named = Pid::from_raw(pid).filter(|_| pid > 0);
            let named = named.ok_or_else(|| {
                failed("enter the processes of a container")(io::Error::from_raw_os_error(-pid))
            })?;
            let pidfd = pidfd_open(named, PidfdFlags::empty()).map_err(io::Error::from)?;
            Ok(Cloned::Parent { pid, pidfd })
        }
    }
}

/// Makes the children of this process be born among the processes of another namespace, until it is dropped.
struct BornInto(Option<OwnedFd>);

impl BornInto {
    fn new(pids: Option<&impl AsFd>) -> Result<Self, RuntimeError> {
        let Some(pids) = pids else {
            return Ok(Self(None));
        };
        let path = Path::new("/proc/self/ns/pid");
        let own = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(RuntimeError::path("open", path))?;
        enter(pids)?;
        Ok(Self(Some(own)))
    }

    fn forget(mut self) {
        self.0 = None;
    }
}

impl Drop for BornInto {
    fn drop(&mut self) {
        if let Some(own) = &self.0 {
            enter(own).expect("a process may always have its own children beside it");
        }
    }
}

fn enter(pids: &impl AsFd) -> Result<(), RuntimeError> {
    // A descriptor of a process stands for its namespaces, too; one kind is asked for.
    move_into_link_name_space(pids.as_fd(), Some(LinkNameSpaceType::ProcessID))
        .map_err(failed("enter the processes of a container"))
}
