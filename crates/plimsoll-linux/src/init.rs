//! The first process of a container that reaps and forwards, as `tini` does.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::ptr;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use crate::clone::exit_now;
use crate::exec::close_between;

/// Forks. The child returns, under what `confine` does, to become the program; the caller becomes the program's
/// keeper, confined likewise, and never returns: it passes on every signal it gets, reaps whoever ends, and ends as the
/// program does. Where `confine` fails in the keeper both end.
///
/// With a `terminal` (which is the session's already) the child is its foreground group: what is typed reaches the
/// program once, and not the keeper.
///
/// The keeper is a copy of its maker, so nobody may look at it (PR_SET_DUMPABLE), and it closes everything but the
/// standard streams. Refused (`EDEADLK`) in a process with more than one thread.
pub fn be_init<E: From<io::Error>>(terminal: bool, confine: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
    // Each thread is a directory, and each directory but two is a link.
    if std::fs::metadata("/proc/self/task")?.nlink() != 3 {
        return Err(io::Error::from_raw_os_error(libc::EDEADLK).into());
    }
    // SAFETY: the process has one thread, seen above, so the child is a whole copy and may run ordinary Rust.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error().into()),
        0 => {
            rustix::process::setpgid(None, None).map_err(io::Error::from)?;
            if terminal {
                lead_terminal()?;
            }
            confine()
        }
        child => {
            let confined = confine().is_ok() && set_dumpable_behavior(DumpableBehavior::NotDumpable).is_ok();
            if !confined {
                exit_now(1);
            }
            keep(child)
        }
    }
}

/// Only who is in the foreground may say who is; from the background it would be stopped (SIGTTOU).
fn lead_terminal() -> io::Result<()> {
    let group = rustix::process::getpgrp();
    // SAFETY: SIG_IGN and SIG_DFL run no code of ours.
    unsafe { libc::signal(libc::SIGTTOU, libc::SIG_IGN) };
    let set = rustix::termios::tcsetpgrp(rustix::stdio::stdin(), group);
    // SAFETY: as above.
    unsafe { libc::signal(libc::SIGTTOU, libc::SIG_DFL) };
    Ok(set?)
}

fn keep(child: libc::pid_t) -> ! {
    close_between(3, libc::c_int::MAX);
    let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset writes the whole set before it is read.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), ptr::null_mut());
    }
    let name = c"init";
    // SAFETY: the kernel copies at most 16 bytes of a text that ends with a null.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
    loop {
        reap(child);
        // SAFETY: the set was filled above, and nothing is asked to be written.
        let signal = unsafe { libc::sigwaitinfo(all.as_ptr(), ptr::null_mut()) };
        // What was stopped or typed at a terminal is between the terminal and the program.
        if signal > 0 && signal != libc::SIGCHLD {
            // SAFETY: sends a signal, and touches no memory.
            unsafe { libc::kill(child, signal) };
        }
    }
}

/// Everybody who has ended; with the program this process ends, too.
fn reap(child: libc::pid_t) {
    loop {
        let mut status = 0;
        // SAFETY: `status` outlives the call, which writes it.
        let ended = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
        if ended <= 0 {
            return;
        }
        if ended == child {
            exit_now(if libc::WIFEXITED(status) {
                libc::WEXITSTATUS(status)
            } else {
                128 + libc::WTERMSIG(status)
            });
        }
    }
}
