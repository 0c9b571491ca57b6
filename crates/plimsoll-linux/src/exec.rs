//! Becoming another program.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr;

use crate::clone::exit_now;

/// Gives every signal its default action and unblocks all, as a program expects to find them.
///
/// Rust ignores SIGPIPE and callers may ignore or block others; all of it would outlast exec.
pub fn reset_signals() -> io::Result<()> {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: SIG_DFL runs no code of ours. What may not be changed (KILL, STOP, libc's own) is refused with
        // EINVAL, which is as good.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset writes the whole set, and the mask is read from it only afterwards.
    let result = unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut())
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(result))
    }
}

/// Becomes `program` (execve): exactly these arguments and this environment, in this order, no search in PATH and no
/// shell for what is no program. Returns only with the error.
pub fn exec(program: &CStr, args: &[CString], env: &[CString]) -> io::Error {
    let pointers = |texts: &[CString]| -> Vec<*const libc::c_char> {
        texts
            .iter()
            .map(|text| text.as_ptr())
            .chain([ptr::null()])
            .collect()
    };
    let (args, env) = (pointers(args), pointers(env));
    // SAFETY: both lists end with a null pointer and point to texts that live until after the call.
    unsafe { libc::execve(program.as_ptr(), args.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// As [`exec`], and never returns: where it fails, what `tell` makes of the error is written to `report`, and the
/// process ends.
///
/// Everything open but the standard streams and `report` is closed first. Close-on-exec is too late for that: it is
/// done when program and interpreter have been found, and `/proc/self/fd/N/../..` finds them outside of a container
/// where N is a directory of the host (CVE-2024-21626).
pub fn exec_or_tell(
    program: &CStr,
    args: &[CString],
    env: &[CString],
    report: &OwnedFd,
    tell: impl FnOnce(&io::Error) -> Vec<u8>,
) -> ! {
    let report_number = report.as_raw_fd();
    close_between(3, report_number - 1);
    close_between(report_number.max(2) + 1, RawFd::MAX);
    let error = exec(program, args, env);
    let _ = rustix::io::write(report, &tell(&error));
    exit_now(1)
}

/// Only on the way out of a process: what owns these descriptors is never dropped.
pub(crate) fn close_between(first: RawFd, last: RawFd) {
    if first > last {
        return;
    }
    // SAFETY: the caller ends the process by exec or exit without using or dropping anything that owns them.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if result == 0 {
        return;
    }
    // A filter may not know the call yet.
    for number in first..=last.min(4096) {
        // SAFETY: as above; a number that is not open is refused.
        unsafe { libc::close(number) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_program_is_an_error() {
        let missing = exec(c"/no/such/program", &[], &[]);
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        assert_eq!(exec(c"/", &[], &[]).raw_os_error(), Some(libc::EACCES));
    }
}
