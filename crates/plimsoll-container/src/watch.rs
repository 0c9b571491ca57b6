//! Waiting for a change in a folder, without asking again and again.

use std::io;
use std::os::fd::OwnedFd;

use camino::Utf8Path;
use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::wire;

/// Tells when files of a folder were written to, made or renamed.
pub struct FolderWatch(Option<AsyncFd<OwnedFd>>);

impl FolderWatch {
    /// Begins to watch.
    pub fn new(folder: &Utf8Path) -> io::Result<Self> {
        Self::with(
            folder,
            WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::DELETE_SELF,
        )
    }

    fn with(folder: &Utf8Path, changes: WatchFlags) -> io::Result<Self> {
        let inotify = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        add_watch(&inotify, folder.as_std_path(), changes)?;
        Ok(Self(Some(wire::watched(inotify, Interest::READABLE)?)))
    }

    /// Begins to watch for files that take the place of others, and for the folder itself to go.
    pub(crate) fn of_replaced(folder: &Utf8Path) -> io::Result<Self> {
        Self::with(
            folder,
            WatchFlags::MOVED_TO | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF,
        )
    }

    /// Returns after a change since the last call.
    pub async fn changed(&self) -> io::Result<()> {
        let inotify = self.0.as_ref().expect("only drop takes it");
        loop {
            let mut ready = inotify.readable().await?;
            let mut buffer = [0; 4096];
            match rustix::io::read(inotify.get_ref(), &mut buffer) {
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Closed on a thread of its own: the kernel lets who does that wait for a grace period, 15 ms in which a task could go on.
impl Drop for FolderWatch {
    fn drop(&mut self) {
        let inotify = self.0.take().map(AsyncFd::into_inner);
        // Without a thread it is closed here.
        let _ = std::thread::Builder::new()
            .stack_size(64 << 10)
            .spawn(move || drop(inotify));
    }
}
