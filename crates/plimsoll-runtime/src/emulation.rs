//! Programs for other processors, where nobody has registered an emulator with the kernel.
//!
//! Since Linux 6.7 every user namespace may have a `binfmt_misc` of its own (`Documentation/admin-guide/binfmt-misc.rst`).
//! One is made here, with a user namespace that maps every id to itself, and the emulators are registered in it with the
//! flag F: the kernel opens them now, so that no container needs to have them. A step joins the user namespace last,
//! when all that needs rights over the host's mounts and network is done. The host sees nothing of it.
//!
//! In there a program is root over files and processes as always, but not over the network namespace, and cannot make
//! device nodes: what belongs to another user namespace is not its own.

use crate::RuntimeError;
use plimsoll_linux::{Cloned, UnshareFlags, clone_process};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use rustix::process::{PidfdGetfdFlags, WaitId, WaitIdOptions, pidfd_getfd, waitid};
use serde::{Deserialize, Serialize};
use std::io::{self, PipeReader, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::PathBuf;

/// A program that runs those of another processor, and how the kernel knows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emulator {
    /// Must be static.
    pub program: PathBuf,
    /// The first bytes of a file for it.
    pub magic: Vec<u8>,
    /// Which bits of them count.
    pub mask: Vec<u8>,
}

/// A user namespace in which the kernel knows an emulator.
#[derive(Debug)]
pub(crate) struct Emulation {
    pub(crate) emulator: Emulator,
    user: OwnedFd,
    /// Registrations go with the last reference to their file system.
    _mount: OwnedFd,
}

impl Emulation {
    /// Makes one. The caller must have one thread.
    pub(crate) fn new(emulator: &Emulator) -> Result<Self, RuntimeError> {
        let (ready, mut set_ready) = io::pipe()?;
        let (mut report, mut to_report) = io::pipe()?;
        let places = UnshareFlags::NEWUSER | UnshareFlags::NEWNS;
        let (pid, pidfd) = match clone_process(places, None)? {
            Cloned::Child => {
                drop(set_ready);
                let with_us = Some(rustix::process::Signal::KILL);
                let _ = rustix::process::set_parent_process_death_signal(with_us);
                let said = match wait(ready).and_then(|()| register(emulator)) {
                    Ok(mount) => {
                        let number = mount.as_raw_fd();
                        // It stays open until the other side has taken it.
                        std::mem::forget(mount);
                        number.to_string()
                    }
                    Err(error) => format!("!{error}"),
                };
                let _ = to_report.write_all(said.as_bytes());
                drop(to_report);
                // Killed when it has been taken.
                loop {
                    std::thread::park();
                }
            }
            Cloned::Parent { pid, pidfd } => (pid, pidfd),
        };
        drop(to_report);
        let made = map(pid).and_then(|()| {
            set_ready.write_all(b"1")?;
            let mut said = String::new();
            report.read_to_string(&mut said)?;
            take(pid, &pidfd, &said)
        });
        let _ = rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL);
        let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
        let (user, mount) = made.map_err(|error| RuntimeError::Container {
            operation: "register an emulator for",
            detail: error.to_string(),
        })?;
        Ok(Self {
            emulator: emulator.clone(),
            user,
            _mount: mount,
        })
    }

    /// The namespace, to be joined.
    pub(crate) fn user(&self) -> io::Result<OwnedFd> {
        self.user.try_clone()
    }
}

/// In the child: until its ids are mapped it may do nothing.
fn wait(mut ready: PipeReader) -> io::Result<()> {
    ready.read_exact(&mut [0])
}

/// In the child: a file system of its own, in which the emulator is registered.
fn register(emulator: &Emulator) -> io::Result<OwnedFd> {
    let context = fsopen("binfmt_misc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&mount, "register", flags, Mode::empty())?;
    rustix::io::write(&file, &emulator.rule())?;
    Ok(mount)
}

impl Emulator {
    /// `:name:M:offset:magic:mask:interpreter:flags`, bytes as `\xNN`. P keeps the program's own idea of its name.
    fn rule(&self) -> Vec<u8> {
        let escaped = |bytes: &[u8]| {
            bytes
                .iter()
                .map(|byte| format!("\\x{byte:02x}"))
                .collect::<String>()
        };
        let program = self.program.display();
        format!(
            ":plimsoll:M:0:{}:{}:{program}:PF",
            escaped(&self.magic),
            escaped(&self.mask)
        )
        .into_bytes()
    }
}

/// Every id stays what it is.
fn map(pid: i32) -> io::Result<()> {
    for kind in ["uid_map", "gid_map"] {
        std::fs::write(format!("/proc/{pid}/{kind}"), "0 0 4294967295")?;
    }
    Ok(())
}

/// Takes the user namespace and the file system over from the child.
fn take(pid: i32, pidfd: &OwnedFd, said: &str) -> io::Result<(OwnedFd, OwnedFd)> {
    let number = said.parse().map_err(|_| match said.strip_prefix('!') {
        Some(error) => io::Error::other(error.to_owned()),
        None => io::Error::other("it ended early"),
    })?;
    let mount = pidfd_getfd(pidfd, number, PidfdGetfdFlags::empty())?;
    let user = format!("/proc/{pid}/ns/user");
    let user = rustix::fs::open(user, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    Ok((user, mount))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_the_kernels() {
        let emulator = Emulator {
            program: "/usr/bin/qemu-x".into(),
            magic: vec![0x7f, b'E'],
            mask: vec![0xff, 0x00],
        };
        let rule = String::from_utf8(emulator.rule()).unwrap();
        assert_eq!(rule, r":plimsoll:M:0:\x7f\x45:\xff\x00:/usr/bin/qemu-x:PF");
    }
}
