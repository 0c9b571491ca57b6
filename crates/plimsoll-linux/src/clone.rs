//! A child in new namespaces, as fork makes one.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use rustix::io::Errno;
use rustix::thread::UnshareFlags;

/// linux/sched.h; libc's constant is too narrow for it.
const CLONE_INTO_CGROUP: u64 = 1 << 33;

/// Which side of a [`clone_process`] this is.
#[derive(Debug)]
pub enum Cloned {
    /// The new process: a copy of everything, with one thread.
    Child,
    /// The process that called.
    Parent {
        /// Number of the child.
        pid: i32,
        /// The child, as a descriptor (close-on-exec).
        pidfd: OwnedFd,
    },
}

/// Makes a child process (clone3) in new namespaces of the kinds in `namespaces`, and where `cgroup` is given in that
/// group (the directory of a cgroup v2 group; kernel 5.7). It is a direct child, to be waited for.
///
/// Refused in a process with more than one thread (`EDEADLK`): the child would have a copy of locks that nobody is
/// left to open. Then ordinary Rust is fine in the child, which must end with [`exit_now`] or exec.
pub fn clone_process(namespaces: UnshareFlags, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Cloned> {
    clone(namespaces, cgroup, false)
}

/// As [`clone_process`], and the parent of the child is the parent of the caller: for one who makes it and ends.
pub fn clone_sibling(namespaces: UnshareFlags, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Cloned> {
    clone(namespaces, cgroup, true)
}

fn clone(namespaces: UnshareFlags, cgroup: Option<BorrowedFd<'_>>, sibling: bool) -> io::Result<Cloned> {
    let allowed = UnshareFlags::NEWUSER
        | UnshareFlags::NEWNS
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWNET
        | UnshareFlags::NEWCGROUP;
    if !allowed.contains(namespaces) {
        return Err(Errno::INVAL.into());
    }
    // Each thread is a directory, and each directory but two is a link.
    if std::fs::metadata("/proc/self/task")?.nlink() != 3 {
        return Err(Errno::DEADLK.into());
    }
    let mut pidfd: libc::c_int = -1;
    // SAFETY: a structure of numbers, for which zero means nothing asked for.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = u64::from(namespaces.bits()) | libc::CLONE_PIDFD as u64;
    arguments.pidfd = &raw mut pidfd as u64;
    if sibling {
        // The signal is then the caller's own (clone(2)).
        arguments.flags |= libc::CLONE_PARENT as u64;
    } else {
        arguments.exit_signal = libc::SIGCHLD as u64;
    }
    if let Some(cgroup) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: no memory is shared (no CLONE_VM) and no stack is given, so this is fork. The process has one thread,
    // seen above, which is this one. `arguments` is as long as said and outlives the call, and `pidfd` with it.
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size_of_val(&arguments)) };
    match result {
        0 => Ok(Cloned::Child),
        result if result > 0 => Ok(Cloned::Parent {
            pid: i32::try_from(result).map_err(io::Error::other)?,
            // SAFETY: the kernel has just made it for us.
            pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) },
        }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Ends the process at once: nothing is dropped, flushed or run that belongs to the process it is a copy of.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit never returns and touches no memory.
    unsafe { libc::_exit(code) }
}

/// Marks every descriptor from `first` on close-on-exec (kernel 5.11).
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: only a flag of open descriptors changes.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_threads_and_shared_tables_are_refused() {
        // The test harness has a thread beside this one.
        let error = clone_process(UnshareFlags::empty(), None).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EDEADLK));
        let error = clone_process(UnshareFlags::FILES, None).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }
}
