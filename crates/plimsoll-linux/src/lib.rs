//! The few kernel calls rustix has no safe form for.
//!
//! **The only crate of the workspace with `unsafe`.** What is here is small on purpose: each function makes one
//! call safe by refusing the arguments that would not be, and says in a SAFETY comment why the rest is.
//!
//! - [`unshare`]: leave namespaces (`setns` is safe in rustix: `move_into_link_name_space`);
//! - [`CommandExt`]: what a child does between fork and exec: take a file descriptor under a fixed number, die
//!   with its parent, start a session;
//! - [`inherited`]: the other end of that: own a descriptor that came through exec;
//! - [`exec`], [`exec_or_tell`], [`reset_signals`]: become another program, with everything as it expects it;
//! - [`clone_process`], [`clone_sibling`], [`close_on_exec_from`], [`exit_now`]: a child in new namespaces, and its end;
//! - [`be_init`]: the first process of a container that keeps another;
//! - [`mount_setattr`], [`map_owners`], [`make_files_as`]: what a container's mounts may do, and whose files are;
//! - [`load_filter`]: what its programs may do; [`join_new_keyring`]: none of our keys;
//! - [`attach_device_program`]: the device limit of a cgroup v2 group.

mod clone;
mod command;
mod device_program;
mod exec;
mod filter;
mod inherit;
mod init;
mod keyring;
mod mount;
mod owner;

use rustix::io::Errno;
pub use rustix::thread::UnshareFlags;

pub use clone::{Cloned, clone_process, clone_sibling, close_on_exec_from, exit_now};
pub use command::CommandExt;
pub use device_program::attach_device_program;
pub use exec::{exec, exec_or_tell, reset_signals};
pub use filter::load_filter;
pub use inherit::inherited;
pub use init::be_init;
pub use keyring::join_new_keyring;
pub use mount::{MountAttributes, map_owners, mount_setattr};
pub use owner::make_files_as;

/// Moves the calling thread into new namespaces of the kinds in `flags`.
///
/// Only this thread moves; threads and processes it starts afterwards follow. A mount namespace needs the thread to
/// share its working directory with no other (`UnshareFlags::FS` is implied by the kernel for `NEWNS`), a user
/// namespace needs a process with a single thread. `UnshareFlags::FILES` is refused with `EINVAL`: it would leave
/// threads with different tables of descriptors, and then an owned descriptor is owned no longer.
pub fn unshare(flags: UnshareFlags) -> rustix::io::Result<()> {
    if flags.contains(UnshareFlags::FILES) {
        return Err(Errno::INVAL);
    }
    // SAFETY: the only hazard rustix names is CLONE_FILES, refused above. CLONE_NEWPID and the others change what
    // later calls see, never memory or descriptors of this process.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_gets_its_own_namespaces() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root");
            return;
        }
        let namespace = || std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        let outside = namespace();
        let inside = std::thread::spawn(move || {
            unshare(UnshareFlags::NEWNS | UnshareFlags::NEWNET).unwrap();
            namespace()
        });
        assert_ne!(inside.join().unwrap(), outside);
        assert_eq!(namespace(), outside);
    }

    #[test]
    fn a_table_of_descriptors_is_never_split() {
        assert_eq!(
            unshare(UnshareFlags::FILES | UnshareFlags::NEWNS),
            Err(Errno::INVAL)
        );
    }
}
