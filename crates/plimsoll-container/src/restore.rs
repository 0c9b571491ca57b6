//! After a boot or a crash: containers that should run are started again.

use std::collections::HashSet;

use crate::containers::{Container, Containers};
use crate::model::{NetworkMode, Status};
use crate::restart::RestartPolicy;
use crate::{ContainerError, Result};

/// How many containers are started at a time.
const AT_ONCE: usize = 8;

/// What [`Containers::restore`] did.
#[derive(Debug, Default)]
pub struct Restored {
    /// Containers that run now.
    pub started: Vec<Container>,
    /// Those that should and do not, with the reason.
    pub failed: Vec<(Container, ContainerError)>,
}

impl Containers {
    /// Clears away what a boot or a crash left behind, and starts every container that should run; those that others need
    /// come first. A container that cannot be started does not hold up the others.
    pub async fn restore(&self) -> Result<Restored> {
        let this = self.clone();
        let all = tokio::task::spawn_blocking(move || {
            this.tidy()?;
            this.list()
        });
        let all = all.await.map_err(|_| ContainerError::Interrupted)??;
        let mut restored = Restored::default();
        for wave in waves(all.into_iter().filter(should_run).collect()) {
            for some in wave.chunks(AT_ONCE) {
                self.start_some(some, &mut restored).await;
            }
        }
        Ok(restored)
    }

    async fn start_some(&self, containers: &[Container], restored: &mut Restored) {
        let mut starting = tokio::task::JoinSet::new();
        for container in containers.iter().cloned() {
            let this = self.clone();
            starting.spawn(async move {
                let started = this.start(&container, false).await;
                (container, started)
            });
        }
        while let Some(done) = starting.join_next().await {
            match done {
                Ok((container, Ok(_))) => restored.started.push(container),
                Ok((container, Err(error))) => restored.failed.push((container, error)),
                Err(_) => {}
            }
        }
    }

    /// Starts a container that is due; the role `plimsoll shim restore`.
    pub(crate) async fn restore_one(&self, id: &str) -> Result<()> {
        let container = self.get(id)?;
        let mut supervisor = self.supervisor(id)?;
        // Every command that looks at it has it started: the first does, and somebody may have stopped it then.
        supervisor.conditions.due = true;
        self.start_with(supervisor, &container, false).await?;
        Ok(())
    }
}

/// Docker's rules for what a daemon starts when it comes up, but for one: what never ran is not started.
fn should_run(container: &Container) -> bool {
    let (definition, state) = (&container.definition, &container.state);
    if container.is_running() || definition.auto_remove || state.started_at.is_none() {
        return false;
    }
    match definition.restart {
        RestartPolicy::No => false,
        RestartPolicy::Always => true,
        RestartPolicy::UnlessStopped => !state.stopped_by_user,
        RestartPolicy::OnFailure { .. } => state.restart_due || state.suspended,
    }
}

/// Containers in groups: each needs only those of the groups before it. Those that need each other come last.
fn waves(mut waiting: Vec<Container>) -> Vec<Vec<Container>> {
    // In the order they were made in.
    waiting.reverse();
    let mut waves = Vec::new();
    while !waiting.is_empty() {
        let open: HashSet<String> = waiting
            .iter()
            .flat_map(|container| [container.id().to_owned(), container.name.clone()])
            .collect();
        let (blocked, ready): (Vec<_>, Vec<_>) = waiting
            .into_iter()
            .partition(|container| needs(container).iter().any(|id| open.contains(*id)));
        if ready.is_empty() {
            waves.push(blocked);
            break;
        }
        waves.push(ready);
        waiting = blocked;
    }
    waves
}

/// Whom a container joins or is linked to.
fn needs(container: &Container) -> Vec<&str> {
    let definition = &container.definition;
    let shared = [&definition.isolation.pid, &definition.isolation.ipc];
    let mut needs: Vec<&str> = shared
        .into_iter()
        .filter_map(|mode| mode.strip_prefix("container:"))
        .collect();
    if let NetworkMode::Container(id) = &definition.network {
        needs.push(id);
    }
    needs.extend(definition.links.iter().map(|(target, _)| target.as_str()));
    needs
}

/// Whether a container that has ended will never be looked at again: made with `--rm`, and not about to be started.
pub(crate) fn is_over(container: &Container) -> bool {
    let state = &container.state;
    container.definition.auto_remove && state.status == Status::Exited && !state.kept
}
