//! A new version beside the old one: `deploy.update_config` with `order: start-first`.
//!
//! In batches of `parallelism`: new containers are started and watched until they are healthy, or for the time of
//! `monitor` where nobody can ask them; then ports of the host that only one can have go over to them, and the old ones are
//! stopped. They are removed only when all new ones are well, so
//! that `failure_action: rollback` can start them again.

use std::time::Duration;

use plimsoll_compose_file::model::{Condition, UpdateConfig, UpdateFailure};
use plimsoll_container::{Container, State, Status};
use plimsoll_progress::ResourceState;

use super::container::about;
use super::{Work, chain, id_of};
use crate::error::{ComposeError, Result};
use crate::plan::Old;

/// How long a new container is watched that cannot be asked for its health; Swarm's default.
const MONITOR: Duration = Duration::from_secs(5);

/// An old container, the number of the new one and its name.
type Replacement = (Old, u32, String);

impl Work {
    pub(super) async fn roll(&self, service: &str, replacements: &[Replacement]) -> Result<()> {
        let config = self.update_config(service);
        let at_once = match config.parallelism {
            None => 1,
            Some(count) => usize::try_from(count)
                .ok()
                .filter(|count| *count > 0)
                .unwrap_or(usize::MAX),
        };
        let batches: Vec<&[Replacement]> = replacements
            .chunks(at_once.min(replacements.len().max(1)))
            .collect();
        let mut stopped = Vec::new();
        for (number, batch) in batches.iter().enumerate() {
            if number > 0
                && let Some(delay) = config.delay
            {
                tokio::time::sleep(delay).await;
            }
            if let Err(error) = self.batch(service, batch, &config).await {
                let action = config.failure_action.unwrap_or(UpdateFailure::Pause);
                if action != UpdateFailure::Continue {
                    // What is well stays, unless all is to be as it was.
                    let from = match action {
                        UpdateFailure::Rollback => 0,
                        _ => number,
                    };
                    let failed = names(&batches[from..=number]);
                    return self.give_up(service, action, failed, stopped, error).await;
                }
                let progress = &self.converge.progress;
                let id = format!("Service {service}");
                progress.resource(&id, ResourceState::Warning, "Update goes on", &chain(&error));
                // The old ones stay in their places.
                self.take_back(service, &names(&[*batch])).await?;
                continue;
            }
            for (old, ..) in *batch {
                if let Some(container) = self.get(&old.name) {
                    self.end(service, &container).await?;
                    stopped.push(container);
                }
            }
        }
        for container in stopped {
            self.take_away(&container, false).await?;
            self.converge.progress.ready(&id_of(&container.name), "Removed");
        }
        Ok(())
    }

    fn update_config(&self, service: &str) -> UpdateConfig {
        let desired = self.desired.as_deref();
        let service = desired.and_then(|desired| desired.model.services.get(service));
        let deploy = service.and_then(|service| service.deploy.as_ref());
        deploy
            .and_then(|deploy| deploy.update_config.clone())
            .unwrap_or_default()
    }

    /// Starts the new containers of a batch, and waits until they are well.
    async fn batch(&self, service: &str, batch: &[Replacement], config: &UpdateConfig) -> Result<()> {
        for (old, number, name) in batch {
            let started = async {
                let present = self.get(&old.name);
                let container = self.make(service, *number, name.clone(), present.clone()).await?;
                self.put(name, container.clone());
                self.pre_start_of_update(service, name).await?;
                self.run_beside(service, &container, present.as_ref()).await
            };
            self.told(&id_of(name), "Starting", "Started", &old.reason, started)
                .await?;
        }
        for (_, _, name) in batch {
            let Some(container) = self.get(name) else { continue };
            match container.definition.health.is_some() {
                true => {
                    let names = std::slice::from_ref(name);
                    self.wait(service, Condition::ServiceHealthy, true, names).await?;
                }
                false => self.watch(&container, config.monitor.unwrap_or(MONITOR)).await?,
            }
        }
        for (old, _, name) in batch {
            if let (Some(from), Some(to)) = (self.get(&old.name), self.get(name)) {
                let given = self.converge.containers.hand_over_ports(&from, &to).await;
                given.map_err(about("hand the published ports to", name))?;
            }
        }
        Ok(())
    }

    /// It has to go on running for a while.
    async fn watch(&self, container: &Container, monitor: Duration) -> Result<()> {
        let has_ended = |state: &State| !matches!(state.status, Status::Running | Status::Paused);
        let ended = self.converge.containers.until(container, has_ended);
        match tokio::time::timeout(monitor, ended).await {
            Err(_) => Ok(()),
            Ok(state) => Err(ComposeError::Dependency {
                message: format!("container {} exited ({})", container.name, state?.exit_code),
                container: container.name.clone(),
                tail: self.converge.last_output(container).await,
            }),
        }
    }

    /// Takes new containers away, and with `rollback` starts the old ones that were stopped.
    async fn give_up(
        &self,
        service: &str,
        action: UpdateFailure,
        failed: Vec<String>,
        stopped: Vec<Container>,
        error: ComposeError,
    ) -> Result<()> {
        let rolls_back = action == UpdateFailure::Rollback;
        if rolls_back {
            for container in stopped {
                let containers = &self.converge.containers;
                let container = containers.get(container.id())?;
                let started = containers.start(&container, false).await;
                started.map_err(about("start", &container.name))?;
                self.converge.progress.ready(&id_of(&container.name), "Started");
            }
        } else {
            for container in stopped {
                self.take_away(&container, false).await?;
            }
        }
        self.take_back(service, &failed).await?;
        Err(ComposeError::Update {
            service: service.to_owned(),
            outcome: if rolls_back { "rolled back" } else { "paused" },
            reason: chain(&error),
            failed: match error {
                ComposeError::Dependency { container, tail, .. }
                | ComposeError::Hook { container, tail, .. } => Some((container, tail)),
                _ => None,
            },
        })
    }

    /// Takes new containers away.
    async fn take_back(&self, service: &str, failed: &[String]) -> Result<()> {
        for name in failed {
            if let Some(container) = self.get(name) {
                self.end(service, &container).await?;
                self.take_away(&container, false).await?;
                self.converge.progress.ready(&id_of(name), "Removed");
            }
        }
        Ok(())
    }
}

/// Names of the new containers.
fn names(batches: &[&[Replacement]]) -> Vec<String> {
    let all = batches.iter().flat_map(|batch| batch.iter());
    all.map(|(_, _, name)| name.clone()).collect()
}
