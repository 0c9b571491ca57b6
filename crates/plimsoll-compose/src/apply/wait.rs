//! Waiting for what others wait for: woken by the change, never by asking again.

use std::time::Duration;

use jiff::Timestamp;
use plimsoll_compose_file::model::Condition;
use plimsoll_container::{Container, HealthStatus, LogQuery, RestartPolicy, State, Status};
use plimsoll_progress::ResourceState;
use tokio::task::JoinSet;

use super::{Work, id_of};
use crate::converge::Converge;
use crate::error::{ComposeError, Result};

/// Lines of the log that are told of a container that failed.
const TAIL: usize = 10;
/// So often a container may be started again by its policy before those who wait for it give up.
const RESTARTS: u32 = 3;
/// So long a program without a health check has to run before `--wait` believes that it does: what cannot do its work
/// mostly ends at once.
const FIRST_STEPS: Duration = Duration::from_millis(200);

/// How the wait for one container came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// As it was wanted.
    Ready(&'static str),
    /// It has ended.
    Ended(i32),
    /// It is unhealthy.
    Unhealthy,
    /// Nobody can tell whether it is healthy.
    NoCheck,
}

impl Work {
    /// Waits until all containers of a service are what others wait for.
    pub(super) async fn wait(
        &self,
        service: &str,
        condition: Condition,
        required: bool,
        names: &[String],
    ) -> Result<()> {
        let mut waiting = JoinSet::new();
        for container in names.iter().filter_map(|name| self.get(name)) {
            let converge = self.converge.clone();
            let service = service.to_owned();
            waiting.spawn(async move { converge.wait_one(&service, &container, condition, required).await });
        }
        while let Some(waited) = waiting.join_next().await {
            waited.map_err(|_| ComposeError::Interrupted)??;
        }
        Ok(())
    }
}

impl Converge {
    async fn wait_one(
        &self,
        service: &str,
        container: &Container,
        condition: Condition,
        required: bool,
    ) -> Result<()> {
        let id = id_of(&container.name);
        self.progress.working(&id, "Waiting");
        let outcome = self.outcome(container, condition).await?;
        let name = &container.name;
        let message = match outcome {
            Outcome::Ready(word) => {
                self.progress.ready(&id, word);
                return Ok(());
            }
            Outcome::Ended(code) if condition == Condition::ServiceCompletedSuccessfully => {
                format!("service \"{service}\" didn't complete successfully: exit {code}")
            }
            Outcome::Ended(code) => {
                format!("dependency failed to start: container {name} exited ({code})")
            }
            Outcome::Unhealthy => format!("dependency failed to start: container {name} is unhealthy"),
            Outcome::NoCheck => {
                format!("dependency failed to start: container {name} has no healthcheck configured")
            }
        };
        if !required {
            self.progress
                .resource(&id, ResourceState::Warning, "Optional", &message);
            return Ok(());
        }
        self.progress
            .resource(&id, ResourceState::Error, "Error", &message);
        Err(ComposeError::Dependency {
            message,
            container: name.clone(),
            tail: self.tail(container, outcome).await,
        })
    }

    async fn outcome(&self, container: &Container, condition: Condition) -> Result<Outcome> {
        let has_check = container.definition.health.is_some();
        if condition == Condition::ServiceHealthy && !has_check {
            return Ok(Outcome::NoCheck);
        }
        let first = self.containers.get(container.id())?.state.restart_count;
        let judge = |state: &State| match condition {
            Condition::ServiceCompletedSuccessfully => judge_end(state),
            Condition::ServiceHealthy => judge_health(state, first),
            Condition::ServiceStarted => judge_running(state),
        };
        let state = self
            .containers
            .until(container, |state| judge(state).is_some())
            .await?;
        Ok(judge(&state).unwrap_or(Outcome::Ready("Started")))
    }

    /// What it wrote last, or what its check said.
    async fn tail(&self, container: &Container, outcome: Outcome) -> Vec<String> {
        if outcome == Outcome::Unhealthy
            && let Ok(present) = self.containers.get(container.id())
            && let Some(probe) = present.state.health.and_then(|health| health.log.last().cloned())
        {
            return last_lines(&probe.output, TAIL);
        }
        self.last_output(container).await
    }

    /// The last lines it has written since it was started last.
    pub(super) async fn last_output(&self, container: &Container) -> Vec<String> {
        let present = self.containers.get(container.id());
        let start = present.ok().and_then(|present| present.state.started_at);
        let query = LogQuery {
            tail: Some(TAIL),
            follow: false,
        };
        let mut lines = Vec::new();
        if let Ok(Some((mut log, _))) = self.containers.logs(container, query).await {
            while let Ok(Some(line)) = log.next().await {
                if start.is_none_or(|start| line.time >= start) {
                    lines.push(line.log.trim_end().to_owned());
                }
            }
        }
        lines
    }

    /// `--wait`: until all of these containers run, are healthy if they can be asked, or have ended well and for good.
    pub async fn settle(&self, containers: Vec<Container>, timeout: Option<Duration>) -> Result<()> {
        let mut names: Vec<String> = containers
            .iter()
            .map(|container| container.name.clone())
            .collect();
        let mut waiting = JoinSet::new();
        for container in containers.clone() {
            let converge = self.clone();
            waiting.spawn(async move {
                let settled = converge.settle_one(&container).await;
                (container.name, settled)
            });
        }
        let all = async {
            while let Some(waited) = waiting.join_next().await {
                let (name, settled) = waited.map_err(|_| ComposeError::Interrupted)?;
                settled?;
                names.retain(|known| *known != name);
            }
            // Some may have ended while others were waited for.
            for container in &containers {
                let state = self.containers.get(container.id())?.state;
                if let Some(outcome @ Outcome::Ended(_)) = judge_settled(&state, container) {
                    self.settled(container, outcome).await?;
                }
            }
            Ok(())
        };
        match timeout {
            None => all.await,
            Some(timeout) => match tokio::time::timeout(timeout, all).await {
                Ok(done) => done,
                Err(_) => Err(ComposeError::Timeout(names)),
            },
        }
    }

    async fn settle_one(&self, container: &Container) -> Result<()> {
        self.progress.working(&id_of(&container.name), "Waiting");
        let judge = |state: &State| judge_settled(state, container);
        let mut state = self
            .containers
            .until(container, |state| judge(state).is_some())
            .await?;
        if container.definition.health.is_none() && state.status == Status::Running {
            let runs = state.started_at.map_or(Duration::MAX, |start| {
                Timestamp::now().duration_since(start).unsigned_abs()
            });
            let end = self.containers.until(container, |state| !state.status.is_alive());
            if let Ok(ended) = tokio::time::timeout(FIRST_STEPS.saturating_sub(runs), end).await {
                state = ended?;
            }
        }
        let outcome = judge(&state).unwrap_or(Outcome::Ready("Started"));
        self.settled(container, outcome).await
    }

    /// Tells how a wait came out.
    async fn settled(&self, container: &Container, outcome: Outcome) -> Result<()> {
        let (id, name) = (id_of(&container.name), &container.name);
        let message = match outcome {
            Outcome::Ready(word) => {
                self.progress.ready(&id, word);
                return Ok(());
            }
            Outcome::Unhealthy => format!("container {name} is unhealthy"),
            Outcome::Ended(code) => format!("container {name} exited ({code})"),
            Outcome::NoCheck => format!("container {name} has no healthcheck configured"),
        };
        self.progress
            .resource(&id, ResourceState::Error, "Error", &message);
        Err(ComposeError::Dependency {
            message,
            container: name.clone(),
            tail: self.tail(container, outcome).await,
        })
    }
}

/// It has to end with 0; while its policy starts it again, it may.
fn judge_end(state: &State) -> Option<Outcome> {
    match (state.status, state.exit_code) {
        (Status::Exited | Status::Dead, 0) => Some(Outcome::Ready("Exited")),
        (Status::Exited | Status::Dead, code) => Some(Outcome::Ended(code)),
        _ => None,
    }
}

/// One that has ended will not get healthy, unless its policy starts it again: a few times only.
fn judge_health(state: &State, restarts_before: u32) -> Option<Outcome> {
    match state.status {
        Status::Exited | Status::Dead => return Some(Outcome::Ended(state.exit_code)),
        Status::Restarting if state.restart_count >= restarts_before + RESTARTS => {
            return Some(Outcome::Ended(state.exit_code));
        }
        Status::Running | Status::Paused => {}
        Status::Restarting | Status::Created => return None,
    }
    match state.health.as_ref().map(|health| health.status) {
        Some(HealthStatus::Healthy) => Some(Outcome::Ready("Healthy")),
        Some(HealthStatus::Unhealthy) => Some(Outcome::Unhealthy),
        Some(HealthStatus::Starting) => None,
        None => Some(Outcome::NoCheck),
    }
}

fn judge_running(state: &State) -> Option<Outcome> {
    match state.status {
        Status::Running | Status::Paused => Some(Outcome::Ready("Started")),
        Status::Exited | Status::Dead => Some(Outcome::Ended(state.exit_code)),
        Status::Restarting | Status::Created => None,
    }
}

/// What has ended with 0, and is not to be started again, has done what it was to do.
fn judge_settled(state: &State, container: &Container) -> Option<Outcome> {
    let stays_down = matches!(
        container.definition.restart,
        RestartPolicy::No | RestartPolicy::OnFailure { .. }
    );
    if state.status == Status::Exited && state.exit_code == 0 && stays_down {
        return Some(Outcome::Ready("Exited"));
    }
    match container.definition.health.is_some() {
        true => judge_health(state, container.state.restart_count),
        false => judge_running(state),
    }
}

/// The last lines of a text.
pub(super) fn last_lines(text: &str, count: usize) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(count);
    lines[from..].iter().map(|line| (*line).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use plimsoll_container::Health;

    use super::*;

    fn state(status: Status, exit_code: i32, restart_count: u32, health: Option<HealthStatus>) -> State {
        State {
            status,
            exit_code,
            restart_count,
            health: health.map(|status| Health {
                status,
                ..Health::default()
            }),
            ..State::default()
        }
    }

    #[test]
    fn health_is_waited_for_until_it_cannot_come() {
        use HealthStatus::{Healthy, Starting, Unhealthy};
        let judge = |status, code, restarts, health| judge_health(&state(status, code, restarts, health), 2);
        let table = [
            (judge(Status::Created, 0, 2, None), None),
            (judge(Status::Running, 0, 2, Some(Starting)), None),
            (
                judge(Status::Running, 0, 2, Some(Healthy)),
                Some(Outcome::Ready("Healthy")),
            ),
            (
                judge(Status::Running, 0, 2, Some(Unhealthy)),
                Some(Outcome::Unhealthy),
            ),
            (
                judge(Status::Exited, 3, 2, Some(Starting)),
                Some(Outcome::Ended(3)),
            ),
            (judge(Status::Restarting, 3, 4, Some(Starting)), None),
            (
                judge(Status::Restarting, 3, 5, Some(Starting)),
                Some(Outcome::Ended(3)),
            ),
        ];
        for (number, (judged, expected)) in table.into_iter().enumerate() {
            assert_eq!(judged, expected, "{number}");
        }
    }

    #[test]
    fn an_end_counts_when_it_is_the_last() {
        assert_eq!(judge_end(&state(Status::Running, 0, 0, None)), None);
        assert_eq!(judge_end(&state(Status::Restarting, 1, 0, None)), None);
        assert_eq!(
            judge_end(&state(Status::Exited, 0, 0, None)),
            Some(Outcome::Ready("Exited"))
        );
        assert_eq!(
            judge_end(&state(Status::Exited, 7, 0, None)),
            Some(Outcome::Ended(7))
        );
    }

    #[test]
    fn the_last_lines_are_the_last() {
        assert_eq!(last_lines("a\nb\nc\n", 2), ["b", "c"]);
        assert!(last_lines("", 2).is_empty());
    }
}
