//! Half of a start, done while a dependency is waited for.
//!
//! A supervisor and a network namespace take as long as the rest of a start, and need nothing that another could want: no lock,
//! no address, no port. So whoever waits lets those be made that come next. What is not used ends with the work.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use plimsoll_container::{Container, ContainerError, Supervisor};
use tokio::task::{JoinHandle, spawn_blocking};

use super::Work;
use crate::plan::Action;

/// So many stand ready at most: each is a process.
const MOST: usize = 16;

/// A supervisor that stands ready or is being made.
type Coming = JoinHandle<Result<Supervisor, ContainerError>>;

/// Those that are not used yet, by the id of their container.
#[derive(Clone, Default)]
pub(super) struct Foresight(Arc<Mutex<BTreeMap<String, Coming>>>);

impl Work {
    /// Makes supervisors ready for the containers that start when the step `wait` is done.
    pub(super) fn foresee(&self, wait: usize) {
        let mut ready = self.foresight.0.lock().expect("nothing panics with it");
        for step in self.plan.steps.iter().filter(|step| step.after.contains(&wait)) {
            let Action::Start { name, .. } = &step.action else {
                continue;
            };
            if let Some(container) = self.get(name)
                && ready.len() < MOST
                && !ready.contains_key(container.id())
            {
                let containers = self.converge.containers.clone();
                let id = container.id().to_owned();
                ready.insert(
                    id,
                    spawn_blocking(move || containers.ready_supervisor(&container)),
                );
            }
        }
    }

    /// The supervisor that stands ready for a container, or a new one.
    pub(super) async fn supervisor(&self, container: &Container) -> Result<Supervisor, ContainerError> {
        let ready = {
            let mut ready = self.foresight.0.lock().expect("nothing panics with it");
            ready.remove(container.id())
        };
        match ready {
            Some(task) => task.await.map_err(|_| ContainerError::Interrupted)?,
            None => self.converge.containers.supervisor(container.id()),
        }
    }
}
