//! Half of a start, done while something else is waited for: a network that is being made, a dependency's health.
//!
//! A supervisor and a network namespace take as long as the rest of a start, and need nothing that another could want: no lock,
//! no address, no port. So they are made for those that come next. What is not used ends with the work.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use plimsoll_container::{Container, ContainerError, Containers, NetworkMode, Supervisor};
use tokio::task::{JoinHandle, spawn_blocking};

use super::{Work, is_wait};
use crate::plan::{Action, Step};
use crate::spec::own_network;

/// So many stand ready at most: each is a process.
const MOST: usize = 16;

/// A supervisor that stands ready or is being made.
type Coming = JoinHandle<Result<Supervisor, ContainerError>>;

/// What was done before its turn, and not used yet.
#[derive(Clone, Default)]
pub(super) struct Foresight(Arc<Mutex<Foreseen>>);

#[derive(Default)]
struct Foreseen {
    /// Ids of containers that are not made yet, by name.
    ids: BTreeMap<String, String>,
    /// By the id of their container.
    supervisors: BTreeMap<String, Coming>,
}

impl Foresight {
    /// The id that a new container is to have.
    pub(super) fn id(&self, name: &str) -> Option<String> {
        self.foreseen().ids.remove(name)
    }

    fn foreseen(&self) -> MutexGuard<'_, Foreseen> {
        self.0.lock().expect("nothing panics with it")
    }

    fn make(&self, containers: &Containers, id: &str, mode: NetworkMode) {
        let mut foreseen = self.foreseen();
        if foreseen.supervisors.len() < MOST && !foreseen.supervisors.contains_key(id) {
            let (containers, own) = (containers.clone(), id.to_owned());
            let coming = spawn_blocking(move || containers.ready_supervisor(&own, &mode));
            foreseen.supervisors.insert(id.to_owned(), coming);
        }
    }
}

impl Work {
    /// Makes supervisors ready for new containers that start as soon as their networks and volumes are there.
    pub(super) fn foresee_new(&self) {
        let steps = &self.plan.steps;
        let waits = |step: &Step| step.after.iter().any(|before| is_wait(&steps[*before]));
        let is_new = |step: &&Step| {
            let is_it = |made: &usize| {
                matches!(&steps[*made].action, Action::Create { replaces: None, .. })
                    && !steps[*made].after.is_empty()
            };
            !waits(step) && step.after.iter().any(is_it)
        };
        for step in steps.iter().filter(is_new) {
            let Action::Start { service, name } = &step.action else {
                continue;
            };
            let desired = self.desired.as_deref();
            let mode = desired.and_then(|desired| own_network(desired, desired.service(service).ok()?));
            if let (Some(mode), Ok(id)) = (mode, Containers::new_id()) {
                self.foresight.make(&self.converge.containers, &id, mode);
                self.foresight.foreseen().ids.insert(name.clone(), id);
            }
        }
    }

    /// Makes supervisors ready for the containers that start when the step `wait` is done: for when nothing else is to be done.
    /// Those that are ready stay.
    pub(super) fn foresee(&self, wait: usize) {
        let next = self.plan.steps.iter().filter(|step| step.after.contains(&wait));
        for step in next {
            if let Action::Start { name, .. } = &step.action
                && let Some(container) = self.get(name)
            {
                let mode = container.definition.network.clone();
                self.foresight
                    .make(&self.converge.containers, container.id(), mode);
            }
        }
    }

    /// The supervisor that stands ready for a container, or a new one.
    pub(super) async fn supervisor(&self, container: &Container) -> Result<Supervisor, ContainerError> {
        let ready = self.foresight.foreseen().supervisors.remove(container.id());
        match ready {
            Some(task) => task.await.map_err(|_| ContainerError::Interrupted)?,
            None => self.converge.containers.supervisor(container.id()),
        }
    }
}
