//! The network namespace of a container.
//!
//! The library makes an empty one with its loopback down. So it is made here, and the container joins it by its path
//! as it does a given one.

use crate::container_spec::NetworkNamespace;
use crate::{Namespaces, RuntimeError};
use libcontainer::network::link::LinkClient;
use libcontainer::network::wrapper::create_network_client;
use plimsoll_linux::UnshareFlags;
use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// The loopback device is the first of every namespace.
const LOOPBACK: u32 = 1;

/// What the container joins, a new network among it where it is to have an empty one.
pub(crate) fn namespaces(network: &NetworkNamespace, given: &Namespaces) -> Result<Namespaces, RuntimeError> {
    let copy = |fd: &Option<OwnedFd>| fd.as_ref().map(OwnedFd::try_clone).transpose();
    check(network, given)?;
    Ok(Namespaces {
        network: match network {
            NetworkNamespace::Host => None,
            NetworkNamespace::None => Some(empty()?),
            NetworkNamespace::Given => copy(&given.network)?,
        },
        pid: copy(&given.pid)?,
        ipc: copy(&given.ipc)?,
        mounts: copy(&given.mounts)?,
        user: copy(&given.user)?,
    })
}

/// A container that is to join a network must not be left with that of the host.
pub(crate) fn check(network: &NetworkNamespace, given: &Namespaces) -> Result<(), RuntimeError> {
    if *network == NetworkNamespace::Given && given.network.is_none() {
        return Err(RuntimeError::Misuse(
            "a given network namespace must come with its descriptor",
        ));
    }
    Ok(())
}

/// Brings up the loopback of the network this process is in.
pub(crate) fn raise_loopback() -> Result<(), RuntimeError> {
    LinkClient::new(create_network_client())
        .and_then(|mut client| client.set_up(LOOPBACK))
        .map_err(|error| super::failed("bring up the loopback of", &error))
}

/// This process has one thread, so it can go there and come back.
fn empty() -> Result<OwnedFd, RuntimeError> {
    let own = current()?;
    plimsoll_linux::unshare(UnshareFlags::NEWNET).map_err(io::Error::from)?;
    let made = current();
    let up = raise_loopback();
    move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::Network)).map_err(io::Error::from)?;
    up?;
    made
}

fn current() -> Result<OwnedFd, RuntimeError> {
    let path = Path::new("/proc/thread-self/ns/net");
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(RuntimeError::path("open", path))
}
