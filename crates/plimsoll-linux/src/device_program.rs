//! The device limit of cgroup v2 is a program (kernel documentation, `cgroup-v2.rst`, "Device controller").

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

// linux/bpf.h
const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 2;

/// The part of `union bpf_attr` that loading uses.
#[repr(C)]
#[derive(Default)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

/// The part of `union bpf_attr` that attaching uses.
#[repr(C)]
struct Attach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

/// Loads a program of type BPF_PROG_TYPE_CGROUP_DEVICE, one `struct bpf_insn` per number, and attaches it to the group
/// whose directory `cgroup` is. The group keeps it; it ends with the group.
pub fn attach_device_program(cgroup: BorrowedFd<'_>, instructions: &[u64]) -> io::Result<()> {
    let license = c"Apache-2.0";
    let load = Load {
        prog_type: TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(instructions.len()).map_err(io::Error::other)?,
        insns: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        ..Load::default()
    };
    // SAFETY: `load` is as long as said and has no padding; the program and the licence it points to outlive the call,
    // which only reads them.
    let program = unsafe {
        bpf(
            PROG_LOAD,
            &raw const load as *const libc::c_void,
            size_of::<Load>(),
        )
    }?;
    // SAFETY: a descriptor the kernel has just made for us (close-on-exec by itself).
    let program = unsafe { OwnedFd::from_raw_fd(program) };
    let attach = Attach {
        target_fd: cgroup.as_raw_fd() as u32,
        attach_bpf_fd: program.as_raw_fd() as u32,
        attach_type: ATTACH_CGROUP_DEVICE,
        attach_flags: ALLOW_MULTI,
    };
    // SAFETY: `attach` is as long as said, has no padding and holds no pointer.
    unsafe {
        bpf(
            PROG_ATTACH,
            &raw const attach as *const libc::c_void,
            size_of::<Attach>(),
        )
    }?;
    Ok(())
}

/// SAFETY: `attributes` must point to `size` readable bytes that are right for `command`.
unsafe fn bpf(command: libc::c_int, attributes: *const libc::c_void, size: usize) -> io::Result<libc::c_int> {
    // SAFETY: the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result as libc::c_int)
    }
}
