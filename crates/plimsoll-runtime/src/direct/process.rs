//! What every process of a container goes through before it becomes its program: ties, limits, streams, user, filter.

use super::filter::Filter;
use crate::RuntimeError;
use crate::defaults::{self, capabilities};
use crate::privilege::may_set_groups;
use crate::program;
use crate::{Stdio, libcontainer::send_descriptor};
use oci_spec::runtime::{Capabilities, Capability, Process};
use plimsoll_linux::{close_on_exec_from, join_new_keyring, load_filter};
use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::pty::OpenptFlags;
use rustix::thread::{self, CapabilitySet, CapabilitySets};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

/// The child ends with its maker, whatever happens.
pub(super) fn tie(caller: &OwnedFd) -> Result<(), RuntimeError> {
    program::die_with(caller).map_err(|detail| RuntimeError::Container {
        operation: "create",
        detail,
    })
}

/// By the open `cgroup.procs` of each.
pub(super) fn join(groups: &[OwnedFd]) -> Result<(), RuntimeError> {
    for group in groups {
        rustix::io::write(group, b"0").map_err(failed("join a control group"))?;
    }
    Ok(())
}

/// While /proc is still the host's.
pub(super) fn set_oom_score(process: &Process) -> Result<(), RuntimeError> {
    let Some(score) = process.oom_score_adj() else {
        return Ok(());
    };
    let path = Path::new("/proc/self/oom_score_adj");
    std::fs::write(path, score.to_string()).map_err(RuntimeError::path("write", path))
}

/// For the program, from its exec on. By the container's own /proc, which is there by now.
pub(super) fn take_profile(process: &Process) -> Result<(), RuntimeError> {
    let Some(profile) = process.apparmor_profile() else {
        return Ok(());
    };
    let path = Path::new("/proc/self/attr/apparmor/exec");
    std::fs::write(path, format!("exec {profile}")).map_err(RuntimeError::path("write", path))
}

/// The keys of whoever makes the container are not its own. Where the kernel has no keyrings, or no more of them, the
/// filter still refuses every call that would reach one.
pub(super) fn leave_keys() -> Result<(), RuntimeError> {
    match join_new_keyring() {
        Err(error)
            if !matches!(
                Errno::from_io_error(&error),
                Some(Errno::NOSYS | Errno::DQUOT | Errno::PERM | Errno::ACCESS)
            ) =>
        {
            Err(failed("leave the session's keys")(error))
        }
        _ => Ok(()),
    }
}

/// Limits that the mapping has brought within reach.
pub(super) fn limit(process: &Process) -> Result<(), RuntimeError> {
    let bound = |limit: u64| (limit != u64::MAX).then_some(limit);
    for limit in process.rlimits().iter().flatten() {
        let known = defaults::ULIMITS.iter().find(|(_, kind, _)| *kind == limit.typ());
        let resource: Option<Resource> = known.map(|(_, _, resource)| *resource);
        let (Some(resource), (current, maximum)) = (resource, (bound(limit.soft()), bound(limit.hard())))
        else {
            continue;
        };
        setrlimit(resource, Rlimit { current, maximum }).map_err(failed("set a limit of the process"))?;
    }
    Ok(())
}

/// Puts the streams in place. A terminal is made here, of the container's own /dev/pts; `console` says whether it is
/// to be found at /dev/console, too, as that of the first process is; `uid` is who it is on the host.
pub(super) fn take_stdio(stdio: &Stdio, uid: u32, console: bool) -> Result<(), RuntimeError> {
    match stdio {
        Stdio::Pipes {
            stdin,
            stdout,
            stderr,
        } => {
            put_in_place(stdin, stdout, stderr)?;
            if uid != 0 {
                // Or the user could not open /dev/stdout; what cannot be given away stays as it is.
                for pipe in [stdout, stderr] {
                    let _ = rustix::fs::fchown(pipe, Some(Uid::from_raw(uid)), None);
                }
            }
        }
        Stdio::Console(socket) => {
            let terminal = terminal(socket, uid, console)?;
            put_in_place(&terminal, &terminal, &terminal)?;
        }
    }
    Ok(close_on_exec_from(3)?)
}

fn put_in_place(stdin: &OwnedFd, stdout: &OwnedFd, stderr: &OwnedFd) -> Result<(), RuntimeError> {
    rustix::stdio::dup2_stdin(stdin)
        .and_then(|()| rustix::stdio::dup2_stdout(stdout))
        .and_then(|()| rustix::stdio::dup2_stderr(stderr))
        .map_err(failed("take the standard streams"))
}

/// A new terminal, which becomes the session's; its master goes over `socket` as OCI runtimes send it.
fn terminal(socket: &OwnedFd, uid: u32, console: bool) -> Result<OwnedFd, RuntimeError> {
    let made = || -> rustix::io::Result<_> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let master = rustix::fs::open("/dev/pts/ptmx", flags, Mode::empty())?;
        rustix::pty::unlockpt(&master)?;
        let name = rustix::pty::ptsname(&master, Vec::new())?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
        rustix::fs::fchown(&slave, Some(Uid::from_raw(uid)), None)?;
        if console {
            let path = "/dev/console";
            let flags = OFlags::CREATE | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            drop(rustix::fs::open(path, flags, Mode::from_raw_mode(0o600))?);
            let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
            let tree = open_tree(rustix::fs::CWD, name.as_c_str(), flags)?;
            let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
            move_mount(&tree, "", rustix::fs::CWD, path, flags)?;
        }
        rustix::process::ioctl_tiocsctty(&slave)?;
        Ok((master, name, slave))
    };
    let (master, name, slave) = made().map_err(failed("make a terminal"))?;
    send_descriptor(socket, name.as_bytes(), Some(&master))?;
    Ok(slave)
}

/// Takes rights away for good; afterwards only the program is left to become.
pub(super) fn become_user(
    process: &Process,
    filter: Option<&Filter>,
    caller: &OwnedFd,
) -> Result<(), RuntimeError> {
    let user = process.user();
    let held = process.capabilities().as_ref().expect("the mapping sets them");
    let groups = user.additional_gids().iter().flatten();
    let groups: Vec<Gid> = groups.map(|gid| Gid::from_raw(*gid)).collect();
    let (uid, gid) = (Uid::from_raw(user.uid()), Gid::from_raw(user.gid()));
    if may_set_groups() {
        thread::set_thread_groups(&groups).map_err(failed("set groups"))?;
    }
    bound(bits(held.bounding())).map_err(failed("drop capabilities"))?;
    thread::set_thread_res_gid(gid, gid, gid).map_err(failed("set the group"))?;
    thread::set_keep_capabilities(true).map_err(failed("keep capabilities"))?;
    thread::set_thread_res_uid(uid, uid, uid).map_err(failed("set the user"))?;
    thread::set_keep_capabilities(false).map_err(failed("drop capabilities"))?;
    tie(caller)?;
    if process.no_new_privileges() == Some(true) {
        thread::set_no_new_privs(true).map_err(failed("give up new privileges"))?;
    }
    if let Some(filter) = filter {
        // Loading it is a privilege, which a change of user takes out of force.
        let mut sets = thread::capabilities(None).map_err(failed("read capabilities"))?;
        sets.effective = sets.permitted;
        thread::set_capabilities(None, sets).map_err(failed("keep capabilities"))?;
        load_filter(&filter.program, filter.flags).map_err(failed("load the system call filter"))?;
    }
    let sets = CapabilitySets {
        effective: bits(held.effective()),
        permitted: bits(held.permitted()),
        inheritable: bits(held.inheritable()),
    };
    thread::set_capabilities(None, sets).map_err(failed("drop capabilities"))
}

/// What no program of the container can ever get again, up to the last one the kernel knows.
fn bound(keep: CapabilitySet) -> rustix::io::Result<()> {
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if keep.contains(capability) {
            continue;
        }
        match thread::remove_capability_from_bounding_set(capability) {
            Err(Errno::INVAL) => break,
            result => result?,
        }
    }
    thread::clear_ambient_capability_set()
}

fn bits(set: &Option<Capabilities>) -> CapabilitySet {
    let number = |capability: &Capability| {
        let name = capability.to_string();
        capabilities::number(name.strip_prefix("CAP_").unwrap_or(&name))
    };
    let numbers = set.iter().flatten().filter_map(number);
    CapabilitySet::from_bits_retain(numbers.fold(0, |all, number| all | 1 << number))
}

pub(super) fn failed<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> RuntimeError {
    move |error| RuntimeError::Container {
        operation: "create",
        detail: format!("cannot {what}: {}", error.into()),
    }
}
