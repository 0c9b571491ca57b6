//! A container that lives: started once it was made, with further processes, until it is deleted.

use super::namespaces::clone_among;
use super::{Direct, Launched, Step, child, groups, reap};
use crate::cgroup::Cgroup;
use crate::container_spec::{ContainerSpec, Resources};
use crate::hooks::{HookStage, Hooks};
use crate::host::Host;
use crate::id_map::{IdMap, Users};
use crate::libcontainer::{receive_descriptor, send_descriptor};
use crate::program::{self, Report};
use crate::root::Root;
use crate::{Bundle, OciRuntime, ProcessSpec, Rootfs, RuntimeError, Stdio, spec, user};
use plimsoll_linux::{Cloned, MountAttributes, UnshareFlags, mount_setattr};
use rustix::pipe::PipeFlags;
use rustix::process::Signal;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// One container, made without a library.
pub(crate) struct DirectContainer {
    direct: Direct,
    running: Option<Running>,
    warnings: Vec<String>,
}

struct Running {
    /// As it was resolved in its root.
    spec: ContainerSpec,
    host: Host,
    root: Root,
    cgroup: Cgroup,
    users: Option<Users>,
    hooks: Option<Hooks>,
    init: OwnedFd,
    pid: i32,
    /// Both until the start.
    waiting: Option<(OwnedFd, Report)>,
}

impl DirectContainer {
    pub(crate) fn new(direct: Direct) -> Self {
        Self {
            direct,
            running: None,
            warnings: Vec::new(),
        }
    }

    fn running(&mut self) -> Result<&mut Running, RuntimeError> {
        self.running
            .as_mut()
            .ok_or(RuntimeError::Misuse("the container has not been created"))
    }

    /// The child of a further process.
    fn tenant(
        &mut self,
        process: &ProcessSpec,
        stdio: &Stdio,
    ) -> Result<(i32, OwnedFd, Report), RuntimeError> {
        let direct = &mut self.direct;
        let running = self.running.as_ref();
        let running = running.ok_or(RuntimeError::Misuse("the container has not been created"))?;
        let identity = user::lookup(&running.root, &process.user, &running.spec.group_add)?;
        if let Some(users) = &running.users {
            users.map.check_user(&identity)?;
        }
        let mapped = spec::further_process(&running.spec, process, &identity, &running.host)?;
        let filter = mapped.filter.as_ref().map(|filter| direct.filters.get(filter));
        let filter = filter.transpose()?;
        let membership = groups::membership(&running.cgroup, &running.host.hierarchies)?;
        let (report, write) = program::report()?;
        let among = Some(running.init.as_fd());
        match clone_among(
            among,
            UnshareFlags::empty(),
            membership.into.as_ref().map(AsFd::as_fd),
        )? {
            Cloned::Child => {
                let tenant = child::Tenant {
                    process: &mapped.process,
                    init: &running.init,
                    common: child::Common {
                        groups: &membership.joined,
                        caller: &direct.caller,
                        stdio,
                        filter: filter.as_deref(),
                        users: running.users.as_ref(),
                    },
                };
                tenant.main(&write)
            }
            Cloned::Parent { pid, pidfd } => Ok((pid, pidfd, report)),
        }
    }
}

/// The files of images that are mounted, each as a mount that is attached nowhere and cannot be written to.
fn images(spec: &ContainerSpec, scratch: &Path, users: Option<&Users>) -> Result<Vec<OwnedFd>, RuntimeError> {
    let trees = spec.images.iter().map(|image| {
        let tree = match &image.part {
            Some(part) => image.rootfs.detached_part(part, scratch, users),
            None => image.rootfs.detached(scratch, false, users),
        }?;
        let attributes = MountAttributes {
            set: MountAttributes::READ_ONLY,
            clear: 0,
            propagation: 0,
            recursive: false,
        };
        mount_setattr(tree.as_fd(), attributes)
            .map_err(RuntimeError::path("set attributes of", &image.rootfs.upper))?;
        Ok(tree)
    });
    trees.collect()
}

impl OciRuntime for DirectContainer {
    fn create(&mut self, bundle: Bundle<'_>) -> Result<i32, RuntimeError> {
        bundle.spec.check_id()?;
        let host = Host {
            hierarchies: groups::all_hierarchies(&self.direct.host.hierarchies),
            ..self.direct.host.clone()
        };
        if bundle.volatile {
            forget(bundle.rootfs)?;
        }
        let scratch = bundle.state.join("rootfs");
        let users = bundle.spec.userns.as_ref().map(|map| {
            IdMap::check_kernel(host.kernel)?;
            Users::new(map)
        });
        let users = users.transpose()?;
        let mut spec = bundle.spec.clone();
        let unmapped = users.as_ref().map(|users| users.leave_unmapped(&mut spec));
        let overlay = bundle
            .rootfs
            .detached(&scratch, bundle.volatile, users.as_ref())?;
        let root = Root::detached(overlay, &scratch);
        let images = images(&spec, &scratch, users.as_ref())?;
        let (go, say_go) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from)?;
        let (stdio, terminal) = match bundle.stdio {
            Stdio::Console(caller) => {
                let (ours, theirs) = UnixStream::pair()?;
                (Stdio::Console(theirs.into()), Some((ours, caller)))
            }
            stdio => (stdio, None),
        };
        let hooks = Hooks::of(&spec, bundle.state);
        let step = Step {
            hooks: hooks.as_ref(),
            spec: &spec,
            root: &root,
            images: &images,
            joined: bundle.joined,
            users: users.as_ref(),
            stdio,
        };
        let Launched {
            pid,
            pidfd,
            mut warnings,
            cgroup,
            report,
            request,
        } = self.direct.launch(step, &host, Some(go))?;
        warnings.extend(unmapped.into_iter().flatten());
        self.warnings = warnings;
        let passed_on = terminal.map_or(Ok(()), |(ours, caller)| pass_on(&ours, &caller));
        self.running = Some(Running {
            spec: request,
            host,
            root,
            cgroup,
            users,
            hooks,
            init: pidfd,
            pid,
            waiting: Some((say_go, report)),
        });
        match passed_on {
            Ok(()) => Ok(pid),
            // A child that could not make one says why.
            Err(error) => Err(self.start().err().unwrap_or(error)),
        }
    }

    fn start(&mut self) -> Result<(), RuntimeError> {
        let running = self.running()?;
        let waiting = running.waiting.take();
        let (go, report) = waiting.ok_or(RuntimeError::Misuse("the container has been started"))?;
        // One that has failed already does not listen: its report says why.
        let _ = rustix::io::write(&go, b"!");
        drop(go);
        let started = report.read();
        if started.is_err() {
            reap(&running.init);
        }
        started?;
        match &running.hooks {
            Some(hooks) => hooks.run(HookStage::Poststart, running.pid),
            None => Ok(()),
        }
    }

    fn exec(&mut self, process: &ProcessSpec, stdio: Stdio) -> Result<i32, RuntimeError> {
        let (pid, pidfd, report) = self.tenant(process, &stdio)?;
        drop(stdio);
        match report.read() {
            Ok(()) => Ok(pid),
            Err(error) => {
                reap(&pidfd);
                Err(match error {
                    RuntimeError::Container { detail, .. } => RuntimeError::Container {
                        operation: "enter",
                        detail,
                    },
                    error => error,
                })
            }
        }
    }

    fn kill(&mut self, signal: i32, all: bool) -> Result<(), RuntimeError> {
        let running = self.running()?;
        let signal = Signal::from_named_raw(signal)
            .ok_or_else(|| RuntimeError::Invalid(format!("invalid signal: {signal}")))?;
        if all && running.cgroup.signal(signal) {
            return Ok(());
        }
        match rustix::process::pidfd_send_signal(&running.init, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(io::Error::from(error).into()),
        }
    }

    fn update(&mut self, resources: &Resources) -> Result<Vec<String>, RuntimeError> {
        let running = self.running()?;
        let mut warnings = Vec::new();
        let spec = ContainerSpec {
            resources: resources.clone(),
            ..running.spec.clone()
        };
        groups::update(&running.cgroup, &running.host, &spec, &mut warnings)?;
        running.spec = spec;
        Ok(warnings)
    }

    fn freeze(&mut self, frozen: bool) -> Result<(), RuntimeError> {
        self.running()?.cgroup.freeze(frozen)
    }

    fn oom_killed(&self) -> bool {
        self.running
            .as_ref()
            .is_some_and(|running| running.cgroup.oom_killed())
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn delete(&mut self) -> Result<(), RuntimeError> {
        let Some(running) = self.running.take() else {
            return Ok(());
        };
        let _ = rustix::process::pidfd_send_signal(&running.init, Signal::KILL);
        reap(&running.init);
        running.cgroup.remove()?;
        running
            .hooks
            .map_or(Ok(()), |hooks| hooks.run(HookStage::Poststop, 0))
    }
}

/// Of an earlier run: what was not synced then is as it is now.
fn forget(rootfs: &Rootfs) -> Result<(), RuntimeError> {
    rootfs
        .forget_volatile()
        .map_err(RuntimeError::path("clean", &rootfs.work))
}

/// The master of the terminal that the child has made, to the caller.
fn pass_on(child: &UnixStream, caller: &OwnedFd) -> Result<(), RuntimeError> {
    let (name, master) = receive_descriptor(child, 64)?;
    let master = master.ok_or_else(|| io::Error::other("the container sent no terminal"))?;
    Ok(send_descriptor(caller, &name, Some(&master))?)
}
