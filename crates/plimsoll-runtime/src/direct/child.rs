//! From clone3 to the program, in the child.
//!
//! The order is the kernel's: groups and namespaces while the host can be reached, then the root, then the user, and
//! last what takes rights away for good.

use super::filter::Filter;
use super::mounts;
use crate::RuntimeError;
use crate::defaults::{self, capabilities};
use crate::program::{self, Failure};
use crate::root::Root;
use oci_spec::runtime::{Capabilities, Capability, Process, Spec};
use plimsoll_linux::{UnshareFlags, close_on_exec_from, exit_now, load_filter, unshare};
use rustix::fs::{Gid, Mode, ResolveFlags, Uid};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{self, CapabilitySet, CapabilitySets, LinkNameSpaceType};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Everything the child needs; it shares nothing with its parent.
pub(super) struct Init<'a> {
    pub(super) spec: &'a Spec,
    /// Of the detached overlay.
    pub(super) root: &'a Root,
    /// `cgroup.procs` of each group to join.
    pub(super) groups: &'a [OwnedFd],
    pub(super) netns: Option<&'a OwnedFd>,
    /// The process that made the container.
    pub(super) caller: &'a OwnedFd,
    /// Standard input, output and error.
    pub(super) stdio: &'a [OwnedFd; 3],
    pub(super) filter: Option<&'a Filter>,
}

/// Becomes the program, or writes into `report` why not, and ends.
pub(super) fn main(init: &Init<'_>, report: &OwnedFd) -> ! {
    let process = init.spec.process().as_ref().expect("the mapping sets it");
    let failure = match set_up(init, process) {
        Ok(()) => program::run(
            process.args().as_deref().unwrap_or_default(),
            process.env().as_deref().unwrap_or_default(),
            report,
        ),
        // The reader says again that it is about creating a container.
        Err(RuntimeError::Container { detail, .. }) => Failure::new(125, detail),
        Err(error) => Failure::new(125, error.chain()),
    };
    let _ = rustix::io::write(report, &failure.to_bytes());
    exit_now(1)
}

fn set_up(init: &Init<'_>, process: &Process) -> Result<(), RuntimeError> {
    tie(init.caller)?;
    for group in init.groups {
        rustix::io::write(group, b"0").map_err(failed("join a control group"))?;
    }
    // Only now, so that the group is the top of what the container sees.
    unshare(UnshareFlags::NEWCGROUP).map_err(failed("make a cgroup namespace"))?;
    if let Some(netns) = init.netns {
        thread::move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(failed("join the network namespace"))?;
    }
    // Away from the terminal of whoever builds.
    rustix::process::setsid().map_err(failed("start a session"))?;
    let hostname = init.spec.hostname().as_deref().unwrap_or_default();
    rustix::system::sethostname(hostname.as_bytes()).map_err(failed("set the host name"))?;
    rustix::process::umask(Mode::empty());
    mounts::enter(init.root, init.spec)?;
    let umask = process.user().umask().unwrap_or(0o022);
    rustix::process::umask(Mode::from_raw_mode(umask));
    enter_directory(init.root, process.cwd())?;
    limit(process)?;
    take_stdio(init.stdio, process.user().uid())?;
    become_user(init, process)
}

/// The child ends with the runner, whatever happens.
fn tie(caller: &OwnedFd) -> Result<(), RuntimeError> {
    program::die_with(caller).map_err(|detail| RuntimeError::Container {
        operation: "create",
        detail,
    })
}

/// Below the root and by no magic link: `/proc/self/fd/N` would be a way to what is still open here (CVE-2024-21626).
fn enter_directory(root: &Root, path: &Path) -> Result<(), RuntimeError> {
    let folder = root.open_place(path, ResolveFlags::empty());
    folder
        .and_then(rustix::process::fchdir)
        .map_err(RuntimeError::path("change directory to", path))
}

fn limit(process: &Process) -> Result<(), RuntimeError> {
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

fn take_stdio(stdio: &[OwnedFd; 3], uid: u32) -> Result<(), RuntimeError> {
    let [stdin, stdout, stderr] = stdio;
    let taken = rustix::stdio::dup2_stdin(stdin)
        .and_then(|()| rustix::stdio::dup2_stdout(stdout))
        .and_then(|()| rustix::stdio::dup2_stderr(stderr));
    taken.map_err(failed("take the standard streams"))?;
    if uid != 0 {
        // Or the user could not open /dev/stdout; what cannot be given away stays as it is.
        for pipe in [stdout, stderr] {
            let _ = rustix::fs::fchown(pipe, Some(Uid::from_raw(uid)), None);
        }
    }
    Ok(close_on_exec_from(3)?)
}

fn become_user(init: &Init<'_>, process: &Process) -> Result<(), RuntimeError> {
    let user = process.user();
    let held = process.capabilities().as_ref().expect("the mapping sets them");
    let groups = user.additional_gids().iter().flatten();
    let groups: Vec<Gid> = groups.map(|gid| Gid::from_raw(*gid)).collect();
    let (uid, gid) = (Uid::from_raw(user.uid()), Gid::from_raw(user.gid()));
    thread::set_thread_groups(&groups).map_err(failed("set groups"))?;
    bound(bits(held.bounding())).map_err(failed("drop capabilities"))?;
    thread::set_thread_res_gid(gid, gid, gid).map_err(failed("set the group"))?;
    thread::set_keep_capabilities(true).map_err(failed("keep capabilities"))?;
    thread::set_thread_res_uid(uid, uid, uid).map_err(failed("set the user"))?;
    thread::set_keep_capabilities(false).map_err(failed("drop capabilities"))?;
    tie(init.caller)?;
    if process.no_new_privileges() == Some(true) {
        thread::set_no_new_privs(true).map_err(failed("give up new privileges"))?;
    }
    if let Some(filter) = init.filter {
        // Loading it is a privilege, which a change of user takes out of force.
        let mut sets = thread::capabilities(None).map_err(failed("read capabilities"))?;
        sets.effective = sets.permitted;
        thread::set_capabilities(None, sets).map_err(failed("keep capabilities"))?;
        load_filter(&filter.program, filter.flags).map_err(|source| RuntimeError::Container {
            operation: "create",
            detail: format!("cannot load the system call filter: {source}"),
        })?;
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

fn failed<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> RuntimeError {
    move |error| RuntimeError::Container {
        operation: "create",
        detail: format!("cannot {what}: {}", error.into()),
    }
}
