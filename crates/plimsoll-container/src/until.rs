//! Waiting for what becomes of a container, woken by the change itself.

use std::time::Duration;

use crate::containers::{Container, Containers};
use crate::model::State;
use crate::protocol::Request;
use crate::watch::FolderWatch;
use crate::{ContainerError, Result};

/// A supervisor that has just started does not listen yet.
const SOON: Duration = Duration::from_millis(20);

impl Containers {
    /// Waits until a container's state is as `wanted` says, and returns it.
    ///
    /// The supervisor replaces the state's file at each change, which wakes this; one that is killed is noticed as well.
    pub async fn until(
        &self,
        container: &Container,
        mut wanted: impl FnMut(&State) -> bool,
    ) -> Result<State> {
        let paths = self.paths(container.id());
        let gone = || ContainerError::NotFound {
            name: container.name.clone(),
            suggestion: None,
        };
        let watch = FolderWatch::of_replaced(&paths.home).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => gone(),
            _ => ContainerError::file("watch", &paths.home)(error),
        })?;
        loop {
            if !paths.definition().exists() {
                return Err(gone());
            }
            let mut state = paths.read_state()?;
            if state.status.is_alive() && !paths.is_supervised() {
                // Writes down that the supervisor was killed.
                state = self.get(container.id())?.state;
            }
            if wanted(&state) {
                return Ok(state);
            }
            let alive = state.status.is_alive();
            tokio::select! {
                changed = watch.changed() => changed.map_err(ContainerError::file("watch", &paths.home))?,
                () = self.supervisor_goes(container), if alive => {}
            }
        }
    }

    /// Returns when the present run of the program has ended, or its supervisor.
    async fn supervisor_goes(&self, container: &Container) {
        if self.ask(container, &Request::Wait).await.is_err() {
            tokio::time::sleep(SOON).await;
        }
    }
}
