//! Containers beside those that `up` makes: `run`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use plimsoll_container::{Container, Containers, CreateOptions, RestartPolicy};

use crate::converge::{Converge, blocking};
use crate::desired::Desired;
use crate::error::{ComposeError, Result};
use crate::labels;
use crate::observed::Observed;
use crate::plan::{Action, Plan, Step};
use crate::spec::Making;

/// Digits of what makes the name of a container of `run` its own.
const SLUG: usize = 12;

impl Plan {
    /// This plan for all but the containers of a service: what has to be there before one more of it is started.
    pub fn around(self, service: &str, observed: &Observed) -> Self {
        let members = observed.members.iter().filter(|member| member.service == service);
        let own: BTreeSet<&str> = members
            .flat_map(|member| [member.id.as_str(), member.name.as_str()])
            .collect();
        // Where a step stands among those that are left.
        let mut places = BTreeMap::new();
        let mut steps = Vec::new();
        for (number, step) in self.steps.into_iter().enumerate() {
            if !concerns(&step.action, service, &own) {
                places.insert(number, steps.len());
                let after = step.after.iter().filter_map(|before| places.get(before).copied());
                steps.push(Step {
                    after: after.collect(),
                    action: step.action,
                });
            }
        }
        let mut settled = self.settled;
        settled.retain(|(name, _)| !own.contains(name.as_str()));
        Self {
            steps,
            settled,
            ..self
        }
    }
}

fn concerns(action: &Action, wanted: &str, own: &BTreeSet<&str>) -> bool {
    match action {
        Action::Create { service, .. }
        | Action::PreStart { service, .. }
        | Action::Start { service, .. }
        | Action::Restart { service, .. }
        | Action::Stop { service, .. }
        | Action::Roll { service, .. }
        | Action::Wait { service, .. } => service == wanted,
        Action::Remove { name, .. } => own.contains(name.as_str()),
        Action::Rename { id, .. } => own.contains(id.as_str()),
        _ => false,
    }
}

impl Converge {
    /// Makes a container of a service beside its others, not yet started and without a restart policy. `change` has the
    /// last word on it. Its image has to be there.
    pub async fn one_off(
        &self,
        desired: &Arc<Desired>,
        service: &str,
        change: impl FnOnce(&mut CreateOptions) + Send + 'static,
    ) -> Result<Container> {
        let (this, desired, service) = (self.clone(), desired.clone(), service.to_owned());
        blocking(move || {
            let image = this
                .image(&desired, &service)?
                .ok_or_else(|| ComposeError::NoImage {
                    service: service.clone(),
                    image: desired.image(&service),
                })?;
            let making = Making {
                desired: &desired,
                name: &service,
                service: desired.service(&service)?,
                image: &image,
                containers: &this.containers,
                peers: &this.first_of_each(&desired.name)?,
                names: &BTreeMap::new(),
                old: None,
                renew: true,
            };
            let mut options = making.options(1)?;
            let slug = Containers::new_id()?;
            let separator = desired.separator;
            let end = &slug[..SLUG];
            options.name = Some(format!(
                "{}{separator}{service}{separator}run{separator}{end}",
                desired.name
            ));
            options
                .labels
                .insert(labels::ONE_OFF.to_owned(), "True".to_owned());
            options.labels.insert(labels::SLUG.to_owned(), slug);
            options.restart = RestartPolicy::No;
            change(&mut options);
            this.hold_mounted(&desired, &service, &mut options)?;
            let parent = this.images.hold(&image)?;
            let made = this.containers.create(&image, parent, &options)?;
            // It keeps what it needs from here on.
            this.store.release();
            Ok(made)
        })
        .await
    }

    /// Ids of the first container of each service.
    fn first_of_each(&self, project: &str) -> Result<BTreeMap<String, String>> {
        let observed = self.observe(project, None)?;
        let mut members: Vec<_> = observed
            .members
            .into_iter()
            .filter(|member| !member.one_off)
            .collect();
        members.sort_by_key(|member| std::cmp::Reverse(member.number));
        Ok(members
            .into_iter()
            .map(|member| (member.service, member.id))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use plimsoll_compose_file::model::Condition;

    use super::*;

    #[test]
    fn the_rest_of_a_plan_keeps_its_order() {
        let mut plan = Plan::default();
        let step = |action, after: &[usize]| Step {
            action,
            after: after.to_vec(),
        };
        let create = |service: &str| Action::Create {
            service: service.to_owned(),
            number: 1,
            name: format!("p-{service}-1"),
            replaces: None,
        };
        let network = Action::CreateNetwork {
            key: "default".to_owned(),
            name: "p_default".to_owned(),
        };
        let wait = Action::Wait {
            service: "db".to_owned(),
            condition: Condition::ServiceHealthy,
            required: true,
            names: vec!["p-db-1".to_owned()],
        };
        plan.steps = vec![
            step(create("web"), &[]),
            step(network.clone(), &[]),
            step(create("db"), &[1]),
            step(wait.clone(), &[0, 2]),
        ];
        plan.settled = vec![("p-db-1".to_owned(), "Running")];
        let left = plan.around("web", &Observed::default());
        let steps: Vec<_> = left
            .steps
            .iter()
            .map(|step| (&step.action, &step.after[..]))
            .collect();
        assert_eq!(
            steps,
            [(&network, &[][..]), (&create("db"), &[0][..]), (&wait, &[1][..]),]
        );
        assert_eq!(left.settled.len(), 1);
    }
}
