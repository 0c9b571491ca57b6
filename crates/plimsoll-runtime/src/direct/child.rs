//! From clone3 to the program, in the child: the first process of a container, or a further one.
//!
//! The order is the kernel's: groups and namespaces while the host can be reached, then the root, then the user, and
//! last what takes rights away for good.

use super::filter::Filter;
use super::process::{
    become_user, failed, join, leave_keys, limit, set_oom_score, take_profile, take_stdio, tie,
};
use super::{mounts, namespaces};
use crate::hooks::{HookStage, Hooks, Meeting};
use crate::id_map::Users;
use crate::program::{self, Failure};
use crate::root::Root;
use crate::{Namespaces, RuntimeError, Stdio};
use oci_spec::runtime::{Process, Spec};
use plimsoll_linux::{UnshareFlags, exit_now, unshare};
use rustix::fs::{Mode, ResolveFlags};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{
    LinkNameSpaceType, ThreadNameSpaceType, move_into_link_name_space, move_into_thread_name_spaces,
};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Everything the first process needs; it shares nothing with its parent.
pub(super) struct Init<'a> {
    pub(super) spec: &'a Spec,
    /// Of the detached overlay.
    pub(super) root: &'a Root,
    /// What is mounted of images.
    pub(super) images: mounts::Images<'a>,
    /// What it was born into, and what it is still to join.
    pub(super) places: namespaces::Places,
    pub(super) joined: &'a Namespaces,
    /// Whether somebody else reaps and forwards signals: see [`plimsoll_linux::be_init`].
    pub(super) reaper: bool,
    /// What is called on the way.
    pub(super) hooks: Option<HooksOfInit<'a>>,
    /// Readable when the program may run.
    pub(super) go: Option<OwnedFd>,
    pub(super) common: Common<'a>,
}

/// What the first process knows of hooks.
pub(super) struct HooksOfInit<'a> {
    pub(super) hooks: &'a Hooks,
    /// Where there are some for the maker.
    pub(super) meeting: Option<Meeting>,
}

impl HooksOfInit<'_> {
    /// When everything is mounted, and the host can still be reached.
    pub(super) fn before_root(&self) -> Result<(), RuntimeError> {
        if let Some(meeting) = &self.meeting {
            meeting.attend()?;
        }
        self.hooks.run(HookStage::CreateContainer, own_pid())
    }
}

fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

/// A further process of a running container.
pub(super) struct Tenant<'a> {
    pub(super) process: &'a Process,
    /// The first one.
    pub(super) init: &'a OwnedFd,
    pub(super) common: Common<'a>,
}

/// What all processes need.
pub(super) struct Common<'a> {
    /// `cgroup.procs` of each group to join.
    pub(super) groups: &'a [OwnedFd],
    /// The process that made the container.
    pub(super) caller: &'a OwnedFd,
    pub(super) stdio: &'a Stdio,
    pub(super) filter: Option<&'a Filter>,
    /// Where the container has its own.
    pub(super) users: Option<&'a Users>,
}

impl Common<'_> {
    /// Who a process is on the host.
    fn outer_user(&self, process: &Process) -> u32 {
        let uid = process.user().uid();
        self.users
            .and_then(|users| users.map.outer_user(uid))
            .unwrap_or(uid)
    }
}

/// Processes of a container may trace those among them, but not us, who hold what is the host's until the program is
/// there (CVE-2016-9962). Becoming the program undoes it.
fn hide() -> Result<(), RuntimeError> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(failed("hide from the container"))
}

/// Late: in there nothing of the host's mounts and network can be changed.
fn join_users(namespace: &OwnedFd) -> Result<(), RuntimeError> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::User))
        .map_err(failed("join a user namespace"))
}

impl Init<'_> {
    /// Becomes the program, or writes into `report` why not, and ends.
    pub(super) fn main(self, report: &OwnedFd) -> ! {
        let process = self.spec.process().as_ref().expect("the mapping sets it");
        let result = self.set_up(process);
        become_program(result, process, report)
    }

    fn set_up(&self, process: &Process) -> Result<(), RuntimeError> {
        let common = &self.common;
        if self.joined.pid.is_some() || common.users.is_some() {
            hide()?;
        }
        tie(common.caller)?;
        set_oom_score(process)?;
        join(common.groups)?;
        if self.places.new_cgroup {
            // Only now, so that the group is the top of what the container sees.
            unshare(UnshareFlags::NEWCGROUP).map_err(failed("make a cgroup namespace"))?;
        }
        self.places.enter(self.joined)?;
        // Away from the terminal of whoever builds.
        rustix::process::setsid().map_err(failed("start a session"))?;
        leave_keys()?;
        if let Some(hostname) = self.spec.hostname().as_deref().filter(|_| self.places.own_uts()) {
            rustix::system::sethostname(hostname.as_bytes()).map_err(failed("set the host name"))?;
        }
        rustix::process::umask(Mode::empty());
        if let Some(users) = common.users {
            users.map.act()?;
            tie(common.caller)?;
        }
        mounts::enter(
            self.root,
            self.spec,
            self.joined,
            &self.images,
            common.users,
            self.hooks.as_ref(),
        )?;
        set_umask(process);
        enter_directory(self.root, process.cwd())?;
        limit(process)?;
        take_profile(process)?;
        take_stdio(common.stdio, common.outer_user(process), true)?;
        if let Some(go) = &self.go {
            wait_for(go)?;
        }
        if let Some(hooks) = &self.hooks {
            hooks.hooks.run(HookStage::StartContainer, own_pid())?;
        }
        let own = common.users.map(|users| &users.namespace);
        if let Some(namespace) = own.or(self.joined.user.as_ref()) {
            join_users(namespace)?;
        }
        if self.reaper {
            let terminal = matches!(common.stdio, Stdio::Console(_));
            return plimsoll_linux::be_init(terminal, || become_user(process, common.filter, common.caller));
        }
        become_user(process, common.filter, common.caller)
    }
}

impl Tenant<'_> {
    /// As [`Init::main`].
    pub(super) fn main(self, report: &OwnedFd) -> ! {
        let result = self.set_up();
        become_program(result, self.process, report)
    }

    fn set_up(&self) -> Result<(), RuntimeError> {
        let common = &self.common;
        hide()?;
        tie(common.caller)?;
        set_oom_score(self.process)?;
        join(common.groups)?;
        // All but the one of processes, which it was born into.
        let all = ThreadNameSpaceType::MOUNT
            | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
            | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
            | ThreadNameSpaceType::NETWORK
            | ThreadNameSpaceType::CONTROL_GROUP;
        move_into_thread_name_spaces(self.init.as_fd(), all).map_err(failed("join the container"))?;
        rustix::process::setsid().map_err(failed("start a session"))?;
        leave_keys()?;
        set_umask(self.process);
        enter_directory(&Root::open(Path::new("/"))?, self.process.cwd())?;
        limit(self.process)?;
        take_profile(self.process)?;
        take_stdio(common.stdio, common.outer_user(self.process), false)?;
        if let Some(users) = common.users {
            join_users(&users.namespace)?;
        }
        become_user(self.process, common.filter, common.caller)
    }
}

fn become_program(result: Result<(), RuntimeError>, process: &Process, report: &OwnedFd) -> ! {
    let failure = match result {
        Ok(()) => program::run(
            process.args().as_deref().unwrap_or_default(),
            process.env().as_deref().unwrap_or_default(),
            report,
        ),
        // The reader says again that it is about creating a container.
        Err(RuntimeError::Container { detail, .. }) => Failure::new(125, detail),
        Err(RuntimeError::Program { message, exit_code }) => Failure::new(exit_code, message),
        Err(error) => Failure::new(125, error.chain()),
    };
    let _ = rustix::io::write(report, &failure.to_bytes());
    exit_now(1)
}

fn set_umask(process: &Process) {
    rustix::process::umask(Mode::from_raw_mode(process.user().umask().unwrap_or(0o022)));
}

/// The maker says one byte; where it says nothing it has given up.
fn wait_for(go: &OwnedFd) -> Result<(), RuntimeError> {
    loop {
        match rustix::io::read(go, &mut [0_u8; 1]) {
            Ok(1) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            _ => return Err(RuntimeError::Misuse("the container was never started")),
        }
    }
}

/// Below the root and by no magic link: `/proc/self/fd/N` would be a way to what is still open here (CVE-2024-21626).
fn enter_directory(root: &Root, path: &Path) -> Result<(), RuntimeError> {
    let folder = root.open_place(path, ResolveFlags::empty());
    folder
        .and_then(rustix::process::fchdir)
        .map_err(|error| RuntimeError::Program {
            message: format!("cannot change directory to `{}`: {error}", path.display()),
            // As if it was the program that could not be found, or used.
            exit_code: if error == rustix::io::Errno::ACCESS {
                126
            } else {
                127
            },
        })
}
