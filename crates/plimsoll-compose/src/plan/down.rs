//! `down`, `stop`, `start`, `restart`, `rm`: what is there, in the order of its labels.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_compose_file::model::Condition;

use super::{Action, Plan};
use crate::desired::Desired;
use crate::graph;
use crate::labels;
use crate::observed::{Observed, Seen};

/// What `down` was asked for.
#[derive(Clone, Debug, Default)]
pub struct DownOptions {
    /// Only these services; all, with networks, where none is named.
    pub services: Vec<String>,
    /// Removes containers of services that the files do not have.
    pub remove_orphans: bool,
    /// Removes volumes, too, but for those of others.
    pub volumes: bool,
    /// Removes images: `all`, or `local` for those that were built here.
    pub images: Option<Images>,
}

/// `--rmi`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Images {
    /// All of them.
    All,
    /// Those without a name in the file.
    Local,
}

impl Plan {
    /// Plans what takes a project away. Without its files its labels say what it is.
    pub fn down(name: &str, desired: Option<&Desired>, observed: &Observed, options: &DownOptions) -> Self {
        let mut plan = Self::default();
        let is_meant = |member: &&Seen| {
            let is_orphan = desired.is_some_and(|desired| !desired.knows(&member.service));
            match options.services.is_empty() {
                true => options.remove_orphans || !is_orphan || member.one_off,
                false => options.services.contains(&member.service) && !member.one_off,
            }
        };
        let members: Vec<&Seen> = observed.members.iter().filter(is_meant).collect();
        let mut removed = Vec::new();
        let stops = plan.stop_in_order(&members, desired);
        for member in &members {
            let after = stops.get(&member.name).copied().into_iter().collect();
            let action = Action::Remove {
                name: member.name.clone(),
                volumes: options.volumes,
            };
            removed.push(plan.push(action, after));
        }
        if options.services.is_empty() {
            plan.remove_things(name, desired, observed, options, &removed);
        }
        plan
    }

    fn remove_things(
        &mut self,
        project: &str,
        desired: Option<&Desired>,
        observed: &Observed,
        options: &DownOptions,
        removed: &[usize],
    ) {
        let ours = |things: &BTreeMap<String, crate::observed::Thing>| -> Vec<String> {
            let ours = things
                .iter()
                .filter(|(_, thing)| thing.label(labels::PROJECT) == project);
            ours.map(|(name, _)| name.clone()).collect()
        };
        for name in ours(&observed.networks) {
            self.push(Action::RemoveNetwork { name, must: false }, removed.to_vec());
        }
        if options.volumes {
            for name in ours(&observed.volumes) {
                self.push(Action::RemoveVolume { name, must: false }, removed.to_vec());
            }
        }
        let (Some(desired), Some(which)) = (desired, options.images) else {
            return;
        };
        let services = desired.model.services.iter();
        let chosen = services.filter(|(_, service)| which == Images::All || service.image.is_none());
        let names: BTreeSet<String> = chosen.map(|(name, _)| desired.image(name)).collect();
        for name in names {
            self.push(Action::RemoveImage { name }, removed.to_vec());
        }
    }

    /// Plans to stop containers, dependents before what they depend on.
    pub fn stop(observed: &Observed, desired: Option<&Desired>, services: &[String]) -> Self {
        let mut plan = Self::default();
        let members: Vec<&Seen> = chosen(observed, services).collect();
        plan.stop_in_order(&members, desired);
        plan
    }

    /// Plans to remove containers, but for those of `run`; with `stop` those that run, too.
    pub fn remove(observed: &Observed, services: &[String], stop: bool, volumes: bool) -> Self {
        let mut plan = Self::default();
        let members = chosen(observed, services);
        for member in members.filter(|member| stop || !member.is_running()) {
            plan.take_away(member, volumes, Vec::new());
        }
        plan
    }

    /// Plans to start what does not run of these services and of what they depend on, in that order. A job that
    /// others need to have ended well, and that has, is not run again for their sake.
    pub fn start(observed: &Observed, desired: Option<&Desired>, services: &[String]) -> Self {
        let mut plan = Self::default();
        let (mut started, mut waits) = (BTreeMap::<String, Vec<usize>>::new(), BTreeMap::new());
        let members = observed.members.iter().filter(|member| !member.one_off);
        let meant = graph::reachable(&edges(members, desired), services);
        for name in by_dependency(observed, desired) {
            let members: Vec<&Seen> = observed.of(&name).collect();
            let names = members.iter().map(|member| member.name.clone()).collect();
            plan.names.insert(name.clone(), names);
            let is_named = services.is_empty() || services.contains(&name);
            let is_job = !is_named && desired.is_some_and(|desired| is_job(desired, &name));
            let did_its_work = is_job && members.iter().all(|member| member.exited_well());
            if did_its_work || !is_named && !meant.contains(&name) {
                continue;
            }
            let gates = plan.gates_of(&name, observed, desired, &started, &mut waits);
            let (running, idle): (Vec<&Seen>, Vec<&Seen>) =
                members.iter().partition(|member| member.is_running());
            let idle = idle.iter().map(|member| (member.name.clone(), None)).collect();
            let service = desired.and_then(|desired| desired.model.services.get(&name));
            let steps = plan.start_all((&name, service), idle, &gates, !running.is_empty());
            if !steps.is_empty() {
                started.insert(name, steps);
            }
        }
        plan
    }

    /// What has to be before a container of a service that is there is started.
    fn gates_of(
        &mut self,
        name: &str,
        observed: &Observed,
        desired: Option<&Desired>,
        started: &BTreeMap<String, Vec<usize>>,
        waits: &mut BTreeMap<(String, &'static str), usize>,
    ) -> Vec<usize> {
        let service = desired.and_then(|desired| desired.model.services.get(name));
        let Some(service) = service else {
            let needs = observed.of(name).flat_map(|member| member.depends_on.keys());
            return needs
                .filter_map(|need| started.get(need))
                .flatten()
                .copied()
                .collect();
        };
        let mut gates = Vec::new();
        for (need, dependency) in graph::dependencies(service) {
            let after = started.get(&need).cloned().unwrap_or_default();
            if dependency.condition == Condition::ServiceStarted {
                gates.extend(after);
                continue;
            }
            let key = (need.clone(), labels::condition(dependency.condition));
            let names = self.names.get(&need).cloned().unwrap_or_default();
            let step = *waits.entry(key).or_insert_with(|| {
                let action = Action::Wait {
                    service: need,
                    condition: dependency.condition,
                    required: dependency.required,
                    names,
                };
                self.push(action, after)
            });
            gates.push(step);
        }
        gates
    }

    /// Plans to stop containers and start them again; with `dependents` also those that are to be restarted with them.
    pub fn restart(
        observed: &Observed,
        desired: Option<&Desired>,
        services: &[String],
        dependents: bool,
    ) -> Self {
        let mut plan = Self::default();
        let mut restarted: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for name in by_dependency(observed, desired) {
            let is_named = services.is_empty() || services.contains(&name);
            for member in observed.of(&name) {
                let mut restarting = member
                    .depends_on
                    .iter()
                    .filter(|(need, restart)| **restart && restarted.contains_key(*need));
                let followed = restarting.next().filter(|_| dependents && member.is_running());
                let reason = match followed {
                    _ if is_named => String::new(),
                    Some((need, _)) => format!("{need} was restarted"),
                    None => continue,
                };
                let needs = member.depends_on.keys().filter_map(|need| restarted.get(need));
                let after = needs.flatten().copied().collect();
                let action = Action::Restart {
                    service: name.clone(),
                    name: member.name.clone(),
                    reason,
                };
                let step = plan.push(action, after);
                restarted.entry(name.clone()).or_default().push(step);
            }
        }
        plan
    }

    /// Stops what runs, dependents first; returns the step of each container.
    fn stop_in_order(&mut self, members: &[&Seen], desired: Option<&Desired>) -> BTreeMap<String, usize> {
        let mut stops = BTreeMap::new();
        let mut of_service: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let edges = edges(members.iter().copied(), desired);
        for name in graph::sorted(&edges).into_iter().rev() {
            let dependents = edges.iter().filter(|(_, needs)| needs.contains(&name));
            let after: Vec<usize> = dependents
                .filter_map(|(dependent, _)| of_service.get(dependent))
                .flatten()
                .copied()
                .collect();
            for member in members
                .iter()
                .filter(|member| member.service == name && member.is_running())
            {
                let action = Action::Stop {
                    service: name.clone(),
                    name: member.name.clone(),
                };
                let step = self.push(action, after.clone());
                stops.insert(member.name.clone(), step);
                of_service.entry(name.clone()).or_default().push(step);
            }
            // One that does not run holds up nobody, but those who wait for its dependents still do.
            of_service.entry(name).or_insert(after);
        }
        stops
    }

    /// Stops and removes one container; returns the last step.
    pub(super) fn take_away(&mut self, member: &Seen, volumes: bool, mut after: Vec<usize>) -> usize {
        if member.is_running() {
            let action = Action::Stop {
                service: member.service.clone(),
                name: member.name.clone(),
            };
            after = vec![self.push(action, after)];
        }
        let action = Action::Remove {
            name: member.name.clone(),
            volumes,
        };
        self.push(action, after)
    }
}

fn chosen<'a>(observed: &'a Observed, services: &'a [String]) -> impl Iterator<Item = &'a Seen> {
    let members = observed.members.iter().filter(|member| !member.one_off);
    members.filter(move |member| services.is_empty() || services.contains(&member.service))
}

/// What each service of these containers depends on: as its labels say, and as the files do.
fn edges<'a>(
    members: impl Iterator<Item = &'a Seen>,
    desired: Option<&Desired>,
) -> BTreeMap<String, BTreeSet<String>> {
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for member in members {
        let needs = edges.entry(member.service.clone()).or_default();
        needs.extend(member.depends_on.keys().cloned());
    }
    for (name, service) in desired.iter().flat_map(|desired| &desired.model.services) {
        if let Some(needs) = edges.get_mut(name) {
            needs.extend(graph::dependencies(service).into_keys());
        }
    }
    edges
}

/// Whether a service is one that others need to have ended well.
fn is_job(desired: &Desired, name: &str) -> bool {
    let mut needs = desired
        .model
        .services
        .values()
        .filter_map(|service| service.depends_on.get(name));
    needs.any(|need| need.condition == Condition::ServiceCompletedSuccessfully)
}

/// Services of what is there, each after those it depends on.
fn by_dependency(observed: &Observed, desired: Option<&Desired>) -> Vec<String> {
    let members = observed.members.iter().filter(|member| !member.one_off);
    graph::sorted(&edges(members, desired))
}
