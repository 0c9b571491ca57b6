//! Starting the containers of a service, each after what `pre_start` asks for.

use plimsoll_compose_file::model::Service;

use super::{Action, Plan};

impl Plan {
    /// Starts containers, each after its own steps and after `gates`. What `pre_start` has for the whole service goes before
    /// them all, unless one of its containers `runs` already. Returns the steps, the last of each container.
    pub(super) fn start_all(
        &mut self,
        (name, service): (&str, Option<&Service>),
        containers: Vec<(String, Option<usize>)>,
        gates: &[usize],
        runs: bool,
    ) -> Vec<usize> {
        let has = |of_each: bool| {
            let steps = service.map(|service| service.pre_start.as_slice());
            steps.is_some_and(|steps| steps.iter().any(|step| step.per_replica == of_each))
        };
        let prepare = |container: &str, of_each: bool| Action::PreStart {
            service: name.to_owned(),
            name: container.to_owned(),
            of_each,
        };
        let mut gates = gates.to_vec();
        // It has the volumes of the first.
        if let Some((first, made)) = containers.first().filter(|_| has(false) && !runs) {
            let after = gates.iter().copied().chain(*made).collect();
            gates = vec![self.push(prepare(first, false), after)];
        }
        let mut started = Vec::new();
        for (container, made) in containers {
            let mut after: Vec<usize> = gates.iter().copied().chain(made).collect();
            if has(true) {
                after = vec![self.push(prepare(&container, true), after)];
            }
            let action = Action::Start {
                service: name.to_owned(),
                name: container,
            };
            started.push(self.push(action, after));
        }
        started
    }
}
