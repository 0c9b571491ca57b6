//! What goes over the socket: one byte with the descriptors of a step, then the request, then the answer.

use super::backing::Backing;
use crate::container_spec::ContainerSpec;
use crate::rootfs::Rootfs;
use crate::{Emulator, Exit, RuntimeError};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::{Deserialize, Serialize};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// The largest message, to bound what a wrong length makes us read.
pub(super) const MAX_MESSAGE: u32 = 64 << 20;

/// Standard output, standard error, and perhaps the network namespace.
const MAX_DESCRIPTORS: usize = 3;

/// Cannot be printed: it may hold secrets.
#[derive(Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) spec: ContainerSpec,
    pub(super) rootfs: Rootfs,
    pub(super) backing: Backing,
    /// Made by the runner where it needs it, gone at the end.
    pub(super) state: PathBuf,
    /// Where compiled filters are kept.
    pub(super) filters: PathBuf,
    pub(super) engine: Engine,
    /// What runs programs of another processor.
    pub(super) emulator: Option<Emulator>,
}

/// Who makes the container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Engine {
    /// The direct path where it can.
    #[default]
    Direct,
    /// libcontainer.
    Library,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Reply {
    pub(super) answer: Answer,
    /// Whether the runner waits for another request.
    pub(super) again: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Ended {
        exit: Exit,
        oom_killed: bool,
        warnings: Vec<String>,
    },
    Failed {
        message: String,
        exit_code: i32,
    },
}

impl Answer {
    pub(super) fn failed(error: &RuntimeError) -> Self {
        Self::Failed {
            message: error.chain(),
            exit_code: error.exit_code(),
        }
    }
}

/// A message with its length before it.
pub(super) fn frame<T: Serialize>(message: &T) -> Vec<u8> {
    let text = serde_json::to_vec(message).expect("messages have no keys but texts");
    let mut bytes = u32::try_from(text.len())
        .unwrap_or(u32::MAX)
        .to_be_bytes()
        .to_vec();
    bytes.extend(text);
    bytes
}

/// Sends the descriptors of a step, on one byte (SCM_RIGHTS).
pub(super) fn send_descriptors(socket: impl AsFd, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("too many descriptors"));
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Waits for the descriptors of the next step; None when there is no next.
pub(super) fn receive_descriptors(socket: impl AsFd) -> io::Result<Option<Vec<OwnedFd>>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut bytes = [IoSliceMut::new(&mut byte)];
    let received = rustix::net::recvmsg(socket, &mut bytes, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    if received.bytes == 0 {
        return Ok(None);
    }
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    Ok(Some(fds))
}
