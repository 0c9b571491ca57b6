//! The user's ssh agent, seen from a step.
//!
//! Not the user's own socket is bound but one of ours that leads to it: mode and owner are the step's to choose, and
//! the socket is gone when the step has ended.

use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use crate::error::OpError;
use crate::mount::Permissions;

/// A socket that leads to an agent, until it is dropped.
pub(super) struct Agent {
    pub(super) socket: PathBuf,
    forwarding: JoinHandle<()>,
}

impl Agent {
    /// Listens in `folder`, which is made.
    pub(super) fn start(agent: PathBuf, folder: &Path, permissions: &Permissions) -> Result<Self, OpError> {
        std::fs::create_dir_all(folder).map_err(OpError::io("make", folder))?;
        let socket = folder.join("agent");
        let listener = listen(folder).map_err(OpError::io("listen at", &socket))?;
        let mode = std::fs::Permissions::from_mode(permissions.mode.unwrap_or(0o600));
        std::fs::set_permissions(&socket, mode).map_err(OpError::io("set mode of", &socket))?;
        let (uid, gid) = (permissions.uid.unwrap_or(0), permissions.gid.unwrap_or(0));
        std::os::unix::fs::chown(&socket, Some(uid), Some(gid))
            .map_err(OpError::io("set owner of", &socket))?;
        let forwarding = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(forward(stream, agent.clone()));
            }
        });
        Ok(Self { socket, forwarding })
    }
}

/// By way of the folder's descriptor: the name of a socket is 107 bytes at most.
fn listen(folder: &Path) -> std::io::Result<UnixListener> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(folder, flags, Mode::empty())?;
    UnixListener::bind(format!("/proc/self/fd/{}/agent", folder.as_raw_fd()))
}

/// An agent that does not answer looks to the step like one that hangs up.
async fn forward(mut step: UnixStream, agent: PathBuf) {
    match UnixStream::connect(&agent).await {
        Ok(mut agent) => {
            let _ = tokio::io::copy_bidirectional(&mut step, &mut agent).await;
        }
        Err(error) => tracing::warn!(%error, agent = %agent.display(), "cannot reach the ssh agent"),
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.forwarding.abort();
    }
}
