//! `post_start` and `pre_stop`: commands in a container.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;

use plimsoll_compose_file::model::Hook;
use plimsoll_container::{Container, ContainerError, Status};
use plimsoll_runtime::ProcessSpec;
use tokio::net::unix::pipe::Receiver;

use super::Work;
use crate::error::{ComposeError, Result};

/// Lines of a hook's output that are told when it fails.
const TAIL: usize = 10;
/// Bytes of it that are kept meanwhile.
const KEPT: usize = 16 << 10;
/// What a pipe holds: pipe(7).
const PIPE: usize = 64 << 10;

impl Work {
    pub(super) async fn post_start(&self, service: &str, container: &Container) -> Result<()> {
        let hooks = self.hooks(service, container, "post_start");
        self.run_hooks("post_start", &hooks, container).await
    }

    /// Only in a container that runs.
    pub(super) async fn pre_stop(&self, service: &str, container: &Container) -> Result<()> {
        let hooks = self.hooks(service, container, "pre_stop");
        if hooks.is_empty() {
            return Ok(());
        }
        let present = self.converge.containers.get(container.id());
        match present.is_ok_and(|present| present.state.status == Status::Running) {
            true => self.run_hooks("pre_stop", &hooks, container).await,
            false => Ok(()),
        }
    }

    /// What the files say, or without them what they said when the container was made.
    fn hooks(&self, service: &str, container: &Container, key: &str) -> Vec<Hook> {
        let desired = self
            .desired
            .as_deref()
            .and_then(|desired| desired.essence(service));
        let service = desired.or(container.definition.origin.as_ref());
        let hooks = service.and_then(|service| service.get(key));
        hooks
            .and_then(|hooks| serde_json::from_value(hooks.clone()).ok())
            .unwrap_or_default()
    }

    async fn run_hooks(&self, kind: &'static str, hooks: &[Hook], container: &Container) -> Result<()> {
        for hook in hooks {
            let (code, output) = self.run_hook(hook, container).await?;
            if code != 0 {
                return Err(ComposeError::Hook {
                    hook: kind,
                    container: container.name.clone(),
                    code,
                    tail: super::wait::last_lines(&output, TAIL),
                });
            }
        }
        Ok(())
    }

    /// Runs one to its end; returns its exit code and what it wrote last. What it leaves in the background may go on writing.
    async fn run_hook(&self, hook: &Hook, container: &Container) -> Result<(i32, String)> {
        let file = |source| ComposeError::File {
            path: "a hook's output".to_owned(),
            source,
        };
        let (reader, writer) = std::io::pipe().map_err(file)?;
        let reader = Receiver::from_owned_fd(reader.into()).map_err(file)?;
        let null = std::fs::File::open("/dev/null").map_err(file)?;
        let writer: OwnedFd = writer.into();
        let ends = [null.into(), writer.try_clone().map_err(file)?, writer];
        let process = hook_process(hook, container);
        let started = self.converge.containers.exec(container, process, &ends).await;
        drop(ends);
        let mut exec = match started {
            Ok(exec) => exec,
            Err(ContainerError::Start { code, message }) => return Ok((code, message)),
            Err(error) => return Err(error.into()),
        };
        let mut output = Vec::new();
        let mut ended = std::pin::pin!(exec.wait());
        let mut is_open = true;
        let code = loop {
            tokio::select! {
                code = &mut ended => break code?,
                ready = reader.readable(), if is_open => is_open = ready.is_ok() && take(&reader, &mut output),
            }
        };
        take(&reader, &mut output);
        Ok((code, String::from_utf8_lossy(&output).into_owned()))
    }
}

/// What a hook runs in a container: what it does not say is as for the container's program.
pub fn hook_process(hook: &Hook, container: &Container) -> ProcessSpec {
    let spec = &container.definition.spec;
    let is_given = |entry: &String| {
        let name = entry.split('=').next().unwrap_or_default();
        hook.environment.contains_key(name)
    };
    let mut env = spec.env.clone();
    env.retain(|entry| !is_given(entry));
    let given = hook.environment.iter();
    env.extend(given.filter_map(|(name, value)| Some(format!("{name}={}", value.as_ref()?))));
    ProcessSpec {
        args: hook.command.clone(),
        env,
        cwd: hook.working_dir.clone().unwrap_or_else(|| spec.cwd.clone()),
        user: hook.user.clone().unwrap_or_else(|| spec.user.clone()),
        tty: false,
        privileged: hook.privileged || spec.privileged,
    }
}

/// Takes what there is, a pipe full at most, and keeps the end of it. False when nobody writes any more.
fn take(reader: &Receiver, output: &mut Vec<u8>) -> bool {
    let mut buffer = [0; PIPE];
    let is_open = match reader.try_read(&mut buffer) {
        Ok(length) => {
            output.extend_from_slice(&buffer[..length]);
            length > 0
        }
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    };
    output.drain(..output.len().saturating_sub(KEPT));
    is_open
}
