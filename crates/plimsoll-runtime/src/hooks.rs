//! Programs of the host that are called while a container is made, when it starts and after its end (OCI runtime
//! specification, config.md, "POSIX-platform Hooks"). Specifications of devices ask for them: caches of libraries are
//! rebuilt, links are made.

use crate::container_spec::ContainerSpec;
use crate::{RuntimeError, libcontainer};
use oci_spec::runtime::HookBuilder;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, Mode};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, PidfdFlags, Signal};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// One such program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// When it is called.
    pub stage: HookStage,
    /// Absolute; in the container for [`HookStage::StartContainer`], otherwise on the host.
    pub path: PathBuf,
    /// Its name and its arguments.
    pub args: Vec<String>,
    /// All of its environment: `NAME=value`.
    pub env: Vec<String>,
    /// Seconds it may take.
    pub timeout: Option<u64>,
}

/// When a [`Hook`] is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HookStage {
    /// Among the host's namespaces, when the container's are there and its root is mounted.
    Prestart,
    /// At the same time, after those.
    CreateRuntime,
    /// In the container's namespaces, before its root is the only one.
    CreateContainer,
    /// In the container, before its program.
    StartContainer,
    /// Among the host's namespaces, when the program runs.
    Poststart,
    /// There, when the container is gone.
    Poststop,
}

impl HookStage {
    fn name(self) -> &'static str {
        match self {
            Self::Prestart => "prestart",
            Self::CreateRuntime => "createRuntime",
            Self::CreateContainer => "createContainer",
            Self::StartContainer => "startContainer",
            Self::Poststart => "poststart",
            Self::Poststop => "poststop",
        }
    }

    /// What a container is in, as its state says it.
    fn status(self) -> &'static str {
        match self {
            Self::Prestart | Self::CreateRuntime | Self::CreateContainer => "creating",
            Self::StartContainer => "created",
            Self::Poststart => "running",
            Self::Poststop => "stopped",
        }
    }
}

/// The hooks of one container, and what they are told.
#[derive(Clone, Debug)]
pub(crate) struct Hooks {
    hooks: Vec<Hook>,
    id: String,
    /// Where its configuration is.
    bundle: PathBuf,
    annotations: std::collections::BTreeMap<String, String>,
}

impl Hooks {
    /// None where there are none.
    pub(crate) fn of(spec: &ContainerSpec, bundle: &Path) -> Option<Self> {
        (!spec.hooks.is_empty()).then(|| Self {
            hooks: spec.hooks.clone(),
            id: spec.id.clone(),
            bundle: bundle.to_owned(),
            annotations: spec.annotations.clone(),
        })
    }

    /// Where the root is found by those that run before it is the only one.
    pub(crate) fn root(&self) -> PathBuf {
        self.bundle.join("rootfs")
    }

    /// What describes the container to them.
    pub(crate) fn describe(&self, spec: &oci_spec::runtime::Spec) -> Result<(), RuntimeError> {
        let root = self.root();
        std::fs::create_dir_all(&root).map_err(RuntimeError::path("make", &root))?;
        let file = self.bundle.join("config.json");
        spec.save(&file)
            .map_err(|error| libcontainer::failed("describe", &error))
    }

    /// Calls those of a stage one after the other; the first that fails is the last.
    pub(crate) fn run(&self, stage: HookStage, pid: i32) -> Result<(), RuntimeError> {
        let state = serde_json::json!({
            "ociVersion": "1.0.2",
            "id": self.id,
            "status": stage.status(),
            "pid": pid,
            "bundle": self.bundle,
            "annotations": self.annotations,
        });
        let of_stage = self.hooks.iter().filter(|hook| hook.stage == stage);
        for hook in of_stage {
            let umask = rustix::process::umask(Mode::from_raw_mode(0o022));
            let called = call(hook, state.to_string().as_bytes());
            rustix::process::umask(umask);
            called.map_err(|reason| RuntimeError::Container {
                operation: "create",
                detail: format!("{} hook `{}` failed: {reason}", stage.name(), hook.path.display()),
            })?;
        }
        Ok(())
    }

    fn wants(&self, stages: &[HookStage]) -> bool {
        self.hooks.iter().any(|hook| stages.contains(&hook.stage))
    }
}

/// Between the maker and the child: hooks among the host's namespaces run while the child waits.
pub(crate) struct Meeting {
    arrived: OwnedFd,
    go_on: OwnedFd,
}

impl Meeting {
    /// Both sides, the maker's first, where there is somebody to wait for.
    pub(crate) fn new(hooks: &Hooks) -> io::Result<Option<(Self, Self)>> {
        if !hooks.wants(&[HookStage::Prestart, HookStage::CreateRuntime]) {
            return Ok(None);
        }
        let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC);
        let ((here, arrived), (go_on, going)) = (pipe()?, pipe()?);
        let maker = Self {
            arrived: here,
            go_on: going,
        };
        Ok(Some((maker, Self { arrived, go_on })))
    }

    /// The maker's: a child that does not come has failed before, and says so itself.
    pub(crate) fn hold(self, hooks: &Hooks, pid: i32) -> Result<(), RuntimeError> {
        if !heard(&self.arrived) {
            return Ok(());
        }
        hooks.run(HookStage::Prestart, pid)?;
        hooks.run(HookStage::CreateRuntime, pid)?;
        let _ = rustix::io::write(&self.go_on, b"!");
        Ok(())
    }

    /// The child's.
    pub(crate) fn attend(&self) -> Result<(), RuntimeError> {
        let _ = rustix::io::write(&self.arrived, b"!");
        match heard(&self.go_on) {
            true => Ok(()),
            false => Err(RuntimeError::Misuse("a hook has failed")),
        }
    }
}

/// Whether something came before the end.
fn heard(pipe: &OwnedFd) -> bool {
    loop {
        match rustix::io::read(pipe, &mut [0_u8; 1]) {
            Err(Errno::INTR) => {}
            read => return read == Ok(1),
        }
    }
}

/// The state comes by standard input, from a file in memory: a program that does not read it does not matter.
fn call(hook: &Hook, state: &[u8]) -> Result<(), String> {
    let mut input = memory().map_err(|error| error.to_string())?;
    let mut output = memory().map_err(|error| error.to_string())?;
    let started = (|| {
        input.write_all(state)?;
        input.rewind()?;
        let mut command = Command::new(&hook.path);
        if let Some((name, arguments)) = hook.args.split_first() {
            command.arg0(name).args(arguments);
        }
        let variables = hook.env.iter().filter_map(|entry| entry.split_once('='));
        command
            .env_clear()
            .envs(variables)
            .stdin(input)
            .stdout(output.try_clone()?)
            .stderr(output.try_clone()?)
            .spawn()
    })();
    let mut child = started.map_err(|error: io::Error| error.to_string())?;
    let in_time = ends_in(&child, hook.timeout).map_err(|error| error.to_string())?;
    if !in_time {
        let _ = child.kill();
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    let mut text = String::new();
    let _ = output.rewind().and_then(|()| output.read_to_string(&mut text));
    match (in_time, status.success()) {
        (true, true) => Ok(()),
        (true, false) => Err(format!("{status}: {}", text.trim())),
        (false, _) => Err(format!("it took longer than {} s", hook.timeout.unwrap_or(0))),
    }
}

fn memory() -> io::Result<File> {
    Ok(rustix::fs::memfd_create("hook", MemfdFlags::CLOEXEC)?.into())
}

fn ends_in(child: &Child, seconds: Option<u64>) -> io::Result<bool> {
    let Some(seconds) = seconds else { return Ok(true) };
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let end = rustix::process::pidfd_open(pid.ok_or(Errno::SRCH)?, PidfdFlags::empty())?;
    let timeout = Timespec {
        tv_sec: i64::try_from(seconds).unwrap_or(i64::MAX),
        tv_nsec: 0,
    };
    let ready = poll(&mut [PollFd::new(&end, PollFlags::IN)], Some(&timeout))?;
    Ok(ready > 0)
}

/// As the specification has them.
pub(crate) fn oci(hooks: &[Hook]) -> Result<oci_spec::runtime::Hooks, RuntimeError> {
    let of = |stage: HookStage| -> Result<Vec<_>, RuntimeError> {
        let of_stage = hooks.iter().filter(|hook| hook.stage == stage);
        let one = |hook: &Hook| {
            let mut built = HookBuilder::default()
                .path(&hook.path)
                .args(hook.args.clone())
                .env(hook.env.clone());
            if let Some(seconds) = hook.timeout {
                built = built.timeout(i64::try_from(seconds).unwrap_or(i64::MAX));
            }
            Ok(built.build()?)
        };
        of_stage.map(one).collect()
    };
    let mut all = oci_spec::runtime::Hooks::default();
    all.set_prestart(Some(of(HookStage::Prestart)?));
    all.set_create_runtime(Some(of(HookStage::CreateRuntime)?));
    all.set_create_container(Some(of(HookStage::CreateContainer)?));
    all.set_start_container(Some(of(HookStage::StartContainer)?));
    all.set_poststart(Some(of(HookStage::Poststart)?));
    // Its own end is not waited for by the library: see `Libcontainer::delete`.
    Ok(all)
}

/// Kills what the maker gives up.
pub(crate) fn give_up(pidfd: &OwnedFd) {
    let _ = rustix::process::pidfd_send_signal(pidfd, Signal::KILL);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(words: &[&str], timeout: Option<u64>) -> Hook {
        Hook {
            stage: HookStage::Poststop,
            path: "/bin/sh".into(),
            args: words.iter().map(|word| (*word).to_owned()).collect(),
            env: vec!["A=b".to_owned()],
            timeout,
        }
    }

    #[test]
    fn a_hook_is_told_the_state_and_has_its_own_environment() {
        let text = r#"{"id":"x"}"#;
        let fine = format!("test \"$(cat)\" = '{text}' && test \"$A\" = b && test -z \"$HOME\"");
        assert_eq!(
            call(&hook(&["me", "-c", &fine], Some(20)), text.as_bytes()),
            Ok(())
        );
    }

    #[test]
    fn what_goes_wrong_is_said() {
        let said = call(&hook(&["sh", "-c", "echo no; echo way >&2; exit 3"], None), b"");
        assert_eq!(said, Err("exit status: 3: no\nway".to_owned()));
        let late = call(&hook(&["sh", "-c", "exec sleep 60"], Some(1)), b"");
        assert_eq!(late, Err("it took longer than 1 s".to_owned()));
        let missing = Hook {
            path: "/no/such".into(),
            ..hook(&[], None)
        };
        assert!(call(&missing, b"").unwrap_err().contains("No such file"));
    }
}
