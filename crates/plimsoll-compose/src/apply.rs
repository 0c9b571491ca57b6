//! Doing what a plan says, as much at once as its order allows.

mod container;
mod foresight;
mod hooks;
mod ports;
mod pre_start;
mod roll;
mod things;
mod wait;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use plimsoll_container::Container;
use plimsoll_progress::ResourceState;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::converge::Converge;
use crate::desired::Desired;
use crate::error::{ComposeError, Result};
use crate::plan::{Action, Plan, Step};
use foresight::Foresight;
pub use hooks::hook_process;

/// How a plan is carried out.
#[derive(Clone, Debug, Default)]
pub struct ApplyOptions {
    /// Seconds that a container has to end, instead of its own; negative is for ever.
    pub timeout: Option<i64>,
    /// Makes volumes without a name anew.
    pub renew_anonymous_volumes: bool,
    /// Is told of every container that runs when its turn has come.
    pub started: Option<UnboundedSender<Container>>,
    /// Is told of every container that was stopped to be started again at once.
    pub stopped: Option<UnboundedSender<Stopped>>,
}

/// A container between two runs. The next begins when this is dropped: whoever listens has time to hear the last one out.
#[derive(Debug)]
pub struct Stopped {
    /// The container.
    pub container: Container,
    _go_on: oneshot::Sender<()>,
}

/// A plan that is being carried out. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Work {
    pub(crate) converge: Converge,
    pub(crate) desired: Option<Arc<Desired>>,
    pub(crate) options: Arc<ApplyOptions>,
    pub(crate) plan: Arc<Plan>,
    /// Containers by the name they have when the plan is done.
    containers: Arc<Mutex<BTreeMap<String, Container>>>,
    foresight: Foresight,
}

impl Converge {
    /// Carries a plan out. What fails ends it, and what waits; what is being done is finished.
    pub async fn apply(
        &self,
        project: &str,
        desired: Option<&Arc<Desired>>,
        plan: Plan,
        options: ApplyOptions,
    ) -> Result<()> {
        let this = self.clone();
        let name = project.to_owned();
        let containers = match plan.steps.is_empty() && options.started.is_none() {
            true => BTreeMap::new(),
            false => crate::converge::blocking(move || this.members(&name)).await?,
        };
        let work = Work {
            converge: self.clone(),
            desired: desired.cloned(),
            options: Arc::new(options),
            plan: Arc::new(plan),
            containers: Arc::new(Mutex::new(containers)),
            foresight: Foresight::default(),
        };
        work.tell_settled();
        let done = work.run().await;
        // Containers keep what they need from here on.
        self.store.release();
        done
    }
}

impl Work {
    fn tell_settled(&self) {
        for (name, word) in &self.plan.settled {
            self.converge.progress.ready(&format!("Container {name}"), word);
            if *word == "Running"
                && let Some(container) = self.get(name)
            {
                self.tell_started(container);
            }
        }
    }

    pub(crate) fn tell_started(&self, container: Container) {
        if let Some(started) = &self.options.started {
            // Nobody listens any more: fine.
            let _ = started.send(container);
        }
    }

    /// Says that a container is between two runs, and waits until the next may begin.
    pub(crate) async fn tell_stopped(&self, container: &Container) {
        if let Some(stopped) = &self.options.stopped {
            let (go_on, may_go_on) = oneshot::channel();
            let container = container.clone();
            let _ = stopped.send(Stopped {
                container,
                _go_on: go_on,
            });
            let _ = may_go_on.await;
        }
    }

    async fn run(&self) -> Result<()> {
        let steps = &self.plan.steps;
        let (mut begun, mut done) = (vec![false; steps.len()], vec![false; steps.len()]);
        let mut tasks = JoinSet::new();
        let mut waits = Vec::new();
        let mut failure = None;
        self.foresee_new();
        loop {
            for (number, step) in steps.iter().enumerate() {
                let is_due = !begun[number] && step.after.iter().all(|before| done[*before]);
                if !is_due || failure.is_some() {
                    continue;
                }
                begun[number] = true;
                let work = self.clone();
                let handle = tasks.spawn(async move { (number, work.step(number).await) });
                if is_wait(step) {
                    waits.push(handle);
                }
            }
            let at_work = || (0..steps.len()).filter(|number| begun[*number] && !done[*number]);
            if failure.is_none() && at_work().all(|number| is_wait(&steps[number])) {
                at_work().for_each(|number| self.foresee(number));
            }
            match tasks.join_next().await {
                None => break,
                Some(Ok((number, Ok(())))) => done[number] = true,
                Some(Ok((_, Err(error)))) => {
                    waits.iter().for_each(tokio::task::AbortHandle::abort);
                    failure.get_or_insert(error);
                }
                // A wait that is not needed any more.
                Some(Err(_)) => {}
            }
        }
        match failure {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    async fn step(&self, number: usize) -> Result<()> {
        let action = &self.plan.steps[number].action;
        // Who only waits takes no place from those who work.
        let _place = match action {
            Action::Wait { .. } => None,
            _ => Some(
                self.converge
                    .places
                    .clone()
                    .acquire_owned()
                    .await
                    .map_err(|_| ComposeError::Interrupted)?,
            ),
        };
        match action {
            Action::CreateNetwork { key, name } => self.create_network(key, name).await,
            Action::RemoveNetwork { name, must } => self.remove_network(name, *must).await,
            Action::CreateVolume { key, name } => self.create_volume(key, name).await,
            Action::RemoveVolume { name, must } => self.remove_volume(name, *must).await,
            Action::RemoveImage { name } => self.remove_image(name).await,
            Action::Create {
                service,
                number,
                name,
                replaces,
            } => self.create(service, *number, name, replaces.as_ref()).await,
            Action::Rename { id, name } => self.rename(id, name).await,
            Action::PreStart {
                service,
                name,
                of_each,
            } => self.pre_start(service, name, *of_each).await,
            Action::Start { service, name } => self.start(service, name).await,
            Action::Restart {
                service,
                name,
                reason,
            } => self.restart(service, name, reason).await,
            Action::Stop { service, name } => self.stop(service, name).await,
            Action::Remove { name, volumes } => self.remove(name, *volumes).await,
            Action::Roll {
                service,
                replacements,
            } => self.roll(service, replacements).await,
            Action::Wait {
                service,
                condition,
                required,
                names,
            } => self.wait(service, *condition, *required, names).await,
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<Container> {
        let containers = self.containers.lock().expect("nothing panics with it");
        containers.get(name).cloned()
    }

    pub(crate) fn put(&self, name: &str, container: Container) {
        let mut containers = self.containers.lock().expect("nothing panics with it");
        containers.insert(name.to_owned(), container);
    }

    /// Says that something goes on, then whether it went well.
    pub(crate) async fn told<T>(
        &self,
        id: &str,
        doing: &str,
        done: &str,
        detail: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.told_of(id, doing, done, detail, work, |_| detail.to_owned())
            .await
    }

    /// As [`Work::told`], with more to say when it went well.
    pub(crate) async fn told_of<T>(
        &self,
        id: &str,
        doing: &str,
        done: &str,
        detail: &str,
        work: impl Future<Output = Result<T>>,
        more: impl FnOnce(&T) -> String,
    ) -> Result<T> {
        let progress = &self.converge.progress;
        progress.resource(id, ResourceState::Working, doing, detail);
        let result = work.await;
        match &result {
            Ok(value) => progress.resource(id, ResourceState::Done, done, &more(value)),
            Err(error) => progress.resource(id, ResourceState::Error, "Error", &chain(error)),
        }
        result
    }
}

fn is_wait(step: &Step) -> bool {
    matches!(step.action, Action::Wait { .. })
}

/// An error and its causes on one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    plimsoll_progress::diagnostics::chain(error)
}

/// What a container is called in progress.
pub(crate) fn id_of(name: &str) -> String {
    format!("Container {name}")
}
