//! Owning descriptors that came through exec.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::Mutex;

use rustix::fd::BorrowedFd;
use rustix::io::{Errno, FdFlags};

/// Numbers handed out already: a descriptor has one owner.
static TAKEN: Mutex<Vec<RawFd>> = Mutex::new(Vec::new());

/// Takes ownership of the descriptor `number` that the parent passed, and marks it close-on-exec.
///
/// Call it at the very top of `main`, before anything else opens files: whatever is open there came through exec and
/// has no owner yet. Refused (`EBADF`): the standard streams, a number that is not open, one already taken, and one
/// that is close-on-exec, because such a descriptor was opened by this process and belongs to somebody.
pub fn inherited(number: RawFd) -> std::io::Result<OwnedFd> {
    let mut taken = TAKEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if number <= 2 || taken.contains(&number) {
        return Err(Errno::BADF.into());
    }
    // SAFETY: the borrow lasts for this call; when the number is not open the kernel says EBADF.
    let flags = rustix::io::fcntl_getfd(unsafe { BorrowedFd::borrow_raw(number) })?;
    if flags.contains(FdFlags::CLOEXEC) {
        return Err(Errno::BADF.into());
    }
    // SAFETY: the descriptor is open and came through exec (std and rustix open close-on-exec, so nothing in this
    // process made it), and TAKEN sees to it that it is owned once.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&fd, FdFlags::CLOEXEC)?;
    taken.push(number);
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn takes_what_came_through_exec_once() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(inherited(file.as_raw_fd()).is_err(), "opened by this process");
        let passed = rustix::io::dup(&file).unwrap();
        let number = std::os::fd::IntoRawFd::into_raw_fd(passed);
        let owned = inherited(number).unwrap();
        assert!(
            rustix::io::fcntl_getfd(&owned)
                .unwrap()
                .contains(FdFlags::CLOEXEC)
        );
        assert!(inherited(number).is_err(), "taken before");
        assert!(inherited(1).is_err() && inherited(9999).is_err());
    }
}
