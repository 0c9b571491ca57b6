//! `post_start` and `pre_stop`: commands in a container.

use std::io::Read as _;
use std::os::fd::OwnedFd;

use plimsoll_compose_file::model::Hook;
use plimsoll_container::{Container, ContainerError, Status};
use plimsoll_runtime::ProcessSpec;

use super::Work;
use crate::converge::blocking;
use crate::error::{ComposeError, Result};
use crate::spec::environment;

/// Lines of a hook's output that are told when it fails.
const TAIL: usize = 10;

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

    /// Runs one to its end; returns its exit code and what it wrote.
    async fn run_hook(&self, hook: &Hook, container: &Container) -> Result<(i32, String)> {
        let spec = &container.definition.spec;
        let mut env = spec.env.clone();
        for entry in environment(&hook.environment) {
            let name = entry.split('=').next().unwrap_or_default().to_owned();
            env.retain(|known| known.split('=').next() != Some(&name));
            env.push(entry);
        }
        let process = ProcessSpec {
            args: hook.command.clone(),
            env,
            cwd: hook.working_dir.clone().unwrap_or_else(|| spec.cwd.clone()),
            user: hook.user.clone().unwrap_or_else(|| spec.user.clone()),
            tty: false,
            privileged: hook.privileged || spec.privileged,
        };
        let file = |source| ComposeError::File {
            path: "a hook's output".to_owned(),
            source,
        };
        let (mut reader, writer) = std::io::pipe().map_err(file)?;
        let null = std::fs::File::open("/dev/null").map_err(file)?;
        let writer: OwnedFd = writer.into();
        let ends = [null.into(), writer.try_clone().map_err(file)?, writer];
        let containers = &self.converge.containers;
        let started = containers.exec(container, process, &ends).await;
        drop(ends);
        let mut exec = match started {
            Ok(exec) => exec,
            Err(ContainerError::Start { code, message }) => return Ok((code, message)),
            Err(error) => return Err(error.into()),
        };
        let reading = blocking(move || {
            let mut output = Vec::new();
            let _ = reader.read_to_end(&mut output);
            Ok(String::from_utf8_lossy(&output).into_owned())
        });
        let (code, output) = tokio::join!(exec.wait(), reading);
        Ok((code?, output?))
    }
}
