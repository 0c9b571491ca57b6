//! Which namespaces a container is born into, which it joins, and which it shares with the host.

use super::process::failed;
use crate::container_spec::{ContainerSpec, Ipc, NetworkNamespace, Sharing};
use crate::libcontainer::network::raise_loopback;
use crate::{Namespaces, RuntimeError};
use plimsoll_linux::UnshareFlags;
use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::{AsFd, OwnedFd};
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

/// Makes the children of this process be born among the processes of another namespace, until it is dropped.
pub(super) struct BornInto(Option<OwnedFd>);

impl BornInto {
    pub(super) fn new(pids: Option<&impl AsFd>) -> Result<Self, RuntimeError> {
        let Some(pids) = pids else {
            return Ok(Self(None));
        };
        let path = Path::new("/proc/self/ns/pid");
        let own = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(RuntimeError::path("open", path))?;
        enter(pids)?;
        Ok(Self(Some(own)))
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
