//! Becoming another program.

use std::ffi::{CStr, CString};
use std::io;
use std::ptr;

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
