//! What a child does between fork and exec.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::fd::BorrowedFd;
use rustix::process::Signal;

/// Steps of a new process between fork and exec that [`Command`] has no safe method for.
///
/// Each is one system call, so it is allowed there also when this process has many threads.
pub trait CommandExt {
    /// Gives the child `fd` under the number `number` (3 or more), where [`crate::inherited`] finds it.
    ///
    /// Several may be passed in any order: each waits above all numbers that can be asked for (below 64).
    fn pass_fd(&mut self, fd: OwnedFd, number: RawFd) -> std::io::Result<&mut Self>;

    /// Has the kernel send `signal` to the child when the thread that spawned it ends.
    ///
    /// The thread, not the process (prctl(2), PR_SET_PDEATHSIG): spawn from one that lives on.
    fn die_with_parent(&mut self, signal: Signal) -> &mut Self;

    /// Makes the child the leader of a new session without a terminal.
    fn new_session(&mut self) -> &mut Self;
}

/// Above every number a caller passes, so that making one copy never overwrites the source of the next.
const PARKED: RawFd = 64;

impl CommandExt for Command {
    fn pass_fd(&mut self, fd: OwnedFd, number: RawFd) -> std::io::Result<&mut Self> {
        if !(3..PARKED).contains(&number) {
            return Err(rustix::io::Errno::INVAL.into());
        }
        let source = rustix::io::fcntl_dupfd_cloexec(&fd, PARKED)?;
        let step = move || {
            // SAFETY: `source` lives in this closure, so its number is open; the borrow ends with the call.
            let source = unsafe { BorrowedFd::borrow_raw(source.as_raw_fd()) };
            // SAFETY: after fork this process has one thread and will exec or exit: nothing owned in it can be
            // confused by `number` being replaced. Forgetting the result keeps it open for the exec.
            let mut target =
                std::mem::ManuallyDrop::new(unsafe { std::os::fd::FromRawFd::from_raw_fd(number) });
            rustix::io::dup2(source, &mut target)?;
            Ok(())
        };
        // SAFETY: the closure makes one system call (dup2), which is async-signal-safe, and allocates nothing.
        Ok(unsafe { self.pre_exec(step) })
    }

    fn die_with_parent(&mut self, signal: Signal) -> &mut Self {
        let parent = rustix::process::getpid();
        let step = move || {
            rustix::process::set_parent_process_death_signal(Some(signal))?;
            // The parent may have gone before the line above.
            if rustix::process::getppid() != Some(parent) {
                return Err(rustix::io::Errno::SRCH.into());
            }
            Ok(())
        };
        // SAFETY: the closure makes two system calls (prctl, getppid), both async-signal-safe, and allocates nothing.
        unsafe { self.pre_exec(step) }
    }

    fn new_session(&mut self) -> &mut Self {
        let step = || rustix::process::setsid().map(drop).map_err(Into::into);
        // SAFETY: the closure makes one system call (setsid), async-signal-safe, and allocates nothing.
        unsafe { self.pre_exec(step) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::process::Stdio;

    #[test]
    fn descriptors_arrive_under_their_numbers() {
        let (mut three, writer3) = std::io::pipe().unwrap();
        let (mut four, writer4) = std::io::pipe().unwrap();
        let status = Command::new("sh")
            .args(["-c", "echo a >&3; echo b >&4"])
            .pass_fd(writer4.into(), 4)
            .unwrap()
            .pass_fd(writer3.into(), 3)
            .unwrap()
            .status()
            .unwrap();
        assert!(status.success());
        let mut text = String::new();
        three.read_to_string(&mut text).unwrap();
        four.read_to_string(&mut text).unwrap();
        assert_eq!(text, "a\nb\n");
    }

    #[test]
    fn standard_streams_are_not_passed_this_way() {
        let (_reader, writer) = std::io::pipe().unwrap();
        assert!(Command::new("true").pass_fd(writer.into(), 2).is_err());
    }

    #[test]
    fn a_child_dies_with_the_thread_that_spawned_it() {
        use std::os::unix::process::ExitStatusExt;
        let spawn = || {
            Command::new("sleep")
                .arg("600")
                .die_with_parent(Signal::KILL)
                .stdin(Stdio::null())
                .spawn()
        };
        let mut child = std::thread::spawn(spawn).join().unwrap().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }
}
