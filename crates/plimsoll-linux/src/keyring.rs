//! Keys that a process has by its session (keyrings(7)).

use std::io;

/// `KEYCTL_JOIN_SESSION_KEYRING` of linux/keyctl.h.
const JOIN_SESSION_KEYRING: libc::c_int = 1;

/// Leaves the session keyring of whoever started this process for a new, empty one.
pub fn join_new_keyring() -> io::Result<()> {
    let none = std::ptr::null::<libc::c_char>();
    // SAFETY: without a name the call reads no memory; it changes a credential of this thread.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, none) };
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
    fn every_call_gives_another_one() {
        let id = || {
            let itself: libc::c_int = -3;
            // SAFETY: KEYCTL_GET_KEYRING_ID (0) reads numbers only.
            unsafe { libc::syscall(libc::SYS_keyctl, 0, itself, 0) }
        };
        let join = || join_new_keyring().map(|()| id());
        let work = || match (join(), join()) {
            (Ok(one), Ok(other)) => assert_ne!(one, other),
            (Err(error), _) | (_, Err(error)) => eprintln!("skipped: no keyrings here: {error}"),
        };
        std::thread::scope(|scope| scope.spawn(work).join()).unwrap();
    }
}
