//! Loading a system call filter.

use std::io;

/// Puts the calling thread, for good, under a filter: `struct sock_filter` after `struct sock_filter`, in the bytes of
/// this machine, as libseccomp exports it. `flags` are `SECCOMP_FILTER_FLAG_*`. Needs CAP_SYS_ADMIN or no_new_privs (seccomp(2)).
///
/// Flags that would return a descriptor or move other threads are refused (`EINVAL`).
pub fn load_filter(program: &[u8], flags: u64) -> io::Result<()> {
    let allowed = libc::SECCOMP_FILTER_FLAG_LOG | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    if flags & !allowed != 0 {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let instructions: Vec<libc::sock_filter> = program
        .chunks_exact(size_of::<libc::sock_filter>())
        .map(|bytes| libc::sock_filter {
            code: u16::from_ne_bytes([bytes[0], bytes[1]]),
            jt: bytes[2],
            jf: bytes[3],
            k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        })
        .collect();
    let program = libc::sock_fprog {
        len: u16::try_from(instructions.len()).map_err(io::Error::other)?,
        filter: instructions.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel copies and checks the program, which outlives the call; it is not written to.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const program,
        )
    };
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
    fn what_is_no_program_is_refused() {
        assert_eq!(
            load_filter(&[], 0).unwrap_err().raw_os_error(),
            Some(libc::EINVAL)
        );
        assert!(load_filter(&[0; 8 << 16], 0).is_err());
    }
}
