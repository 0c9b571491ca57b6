//! The terminal of a container: the library sends its master to a socket by name, the caller wants it over one by
//! descriptor.

use crate::RuntimeError;
use rustix::fs::{Mode, OFlags};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

pub(super) struct Console {
    listener: UnixListener,
    path: PathBuf,
    caller: OwnedFd,
}

impl Console {
    /// Listens in the state folder; `caller` gets the master.
    pub(super) fn listen(state: &Path, caller: OwnedFd) -> Result<Self, RuntimeError> {
        let path = state.join("console.sock");
        let _ = std::fs::remove_file(&path);
        // By way of the folder's descriptor: the name of a socket is 107 bytes at most.
        let folder = rustix::fs::open(
            state,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(RuntimeError::path("open", state))?;
        let short = format!("/proc/self/fd/{}/console.sock", folder.as_raw_fd());
        let listener = UnixListener::bind(short).map_err(RuntimeError::path("listen at", &path))?;
        Ok(Self {
            listener,
            path,
            caller,
        })
    }

    pub(super) fn path(&self) -> PathBuf {
        self.path.clone()
    }

    /// Passes the master on. The library has connected and sent it by the time it returns.
    pub(super) fn forward(self) -> Result<(), RuntimeError> {
        let (stream, _) = self.listener.accept()?;
        let (name, master) = receive(&stream, 64)?;
        let master = master.ok_or_else(|| io::Error::other("the container sent no terminal"))?;
        send(&self.caller, &name, Some(&master))?;
        let _ = std::fs::remove_file(&self.path);
        Ok(())
    }
}

/// Sends bytes with a descriptor (SCM_RIGHTS).
pub(crate) fn send(socket: impl AsFd, bytes: &[u8], fd: Option<&OwnedFd>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds: Vec<_> = fd.iter().map(|fd| fd.as_fd()).collect();
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&fds));
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives at most `limit` bytes and the descriptor that may come with them.
pub(crate) fn receive(socket: impl AsFd, limit: usize) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = vec![0; limit];
    let received = rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut fds = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    let fd = fds.next().and_then(|mut fds| fds.next());
    Ok((bytes[..received.bytes].to_vec(), fd))
}
