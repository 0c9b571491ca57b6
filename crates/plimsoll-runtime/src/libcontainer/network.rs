//! The network namespace of a container.
//!
//! The library makes an empty one with its loopback down. So it is made here, and the container joins it by its path
//! as it does a given one.

use crate::RuntimeError;
use crate::container_spec::NetworkNamespace;
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

/// What the container joins; None is the caller's own.
pub(crate) fn namespace(
    network: &NetworkNamespace,
    given: Option<&OwnedFd>,
) -> Result<Option<OwnedFd>, RuntimeError> {
    match (network, given) {
        (NetworkNamespace::Host, _) => Ok(None),
        (NetworkNamespace::None, _) => empty().map(Some),
        (NetworkNamespace::Given, Some(fd)) => Ok(Some(fd.try_clone()?)),
        (NetworkNamespace::Given, None) => Err(RuntimeError::Misuse(
            "a given network namespace must come with its descriptor",
        )),
    }
}

/// This process has one thread, so it can go there and come back.
fn empty() -> Result<OwnedFd, RuntimeError> {
    let own = current()?;
    plimsoll_linux::unshare(UnshareFlags::NEWNET).map_err(io::Error::from)?;
    let made = current();
    let client = LinkClient::new(create_network_client());
    let up = client.and_then(|mut client| client.set_up(LOOPBACK));
    move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::Network)).map_err(io::Error::from)?;
    up.map_err(|error| super::failed("bring up the loopback of", &error))?;
    made
}

fn current() -> Result<OwnedFd, RuntimeError> {
    let path = Path::new("/proc/thread-self/ns/net");
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(RuntimeError::path("open", path))
}
