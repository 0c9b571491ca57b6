//! `up` and `create`: towards what the files say.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_compose_file::model::Condition;

use super::{Action, Plan};
use crate::desired::Desired;
use crate::error::{ComposeError, Result};
use crate::graph;
use crate::labels;
use crate::observed::{Observed, Thing};

/// What `up` was asked for.
#[derive(Clone, Debug, Default)]
pub struct UpOptions {
    /// Only these services and what they depend on; all where none is named.
    pub services: Vec<String>,
    /// Not what they depend on.
    pub no_deps: bool,
    /// Replaces containers that are as they should be.
    pub force_recreate: bool,
    /// Replaces none, whatever has changed.
    pub no_recreate: bool,
    /// As `force_recreate`, of what the named services depend on.
    pub always_recreate_deps: bool,
    /// Makes volumes anew that are not what the files say: what is in them is lost, and their containers go first.
    pub renew_volumes: bool,
    /// Removes containers of services that the files do not have.
    pub remove_orphans: bool,
    /// Does not even warn of them.
    pub ignore_orphans: bool,
    /// Starts nothing.
    pub no_start: bool,
    /// How many containers a service is to have, over what the files say.
    pub scale: BTreeMap<String, u32>,
}

impl Plan {
    /// Plans what makes the world look like the project.
    pub fn up(desired: &Desired, observed: &Observed, options: &UpOptions) -> Result<Self> {
        let mut planner = Planner::new(desired, observed, options)?;
        planner.networks()?;
        planner.volumes()?;
        for service in graph::ordered(&desired.model) {
            if planner.selected.contains(&service) {
                planner.service(&service);
            }
        }
        planner.orphans();
        Ok(planner.plan)
    }
}

/// A plan in the making.
pub(super) struct Planner<'a> {
    pub(super) desired: &'a Desired,
    pub(super) observed: &'a Observed,
    pub(super) options: &'a UpOptions,
    pub(super) selected: BTreeSet<String>,
    pub(super) plan: Plan,
    /// Steps that make networks and volumes, by full name.
    pub(super) networks: BTreeMap<String, usize>,
    pub(super) volumes: BTreeMap<String, usize>,
    /// Containers that went with their volumes.
    pub(super) gone: BTreeSet<String>,
    /// Networks that are made anew: their containers have to be.
    pub(super) new_networks: BTreeSet<String>,
    /// Steps after which the containers of a service are there.
    pub(super) made: BTreeMap<String, Vec<usize>>,
    /// Steps after which they run.
    pub(super) started: BTreeMap<String, Vec<usize>>,
    /// Services with a container that is replaced.
    pub(super) replaced: BTreeSet<String>,
    /// Services with a container that is started, or replaced.
    pub(super) moved: BTreeSet<String>,
    /// Steps that take away what a process left that died half-way, and what goes with its volume.
    pub(super) mended: Vec<usize>,
    waits: BTreeMap<(String, &'static str), usize>,
}

impl<'a> Planner<'a> {
    fn new(desired: &'a Desired, observed: &'a Observed, options: &'a UpOptions) -> Result<Self> {
        for name in options.services.iter().chain(options.scale.keys()) {
            desired.service(name)?;
        }
        Ok(Self {
            desired,
            observed,
            options,
            selected: graph::closure(&desired.model, &options.services, !options.no_deps),
            plan: Plan::default(),
            networks: BTreeMap::new(),
            volumes: BTreeMap::new(),
            gone: BTreeSet::new(),
            new_networks: BTreeSet::new(),
            made: BTreeMap::new(),
            started: BTreeMap::new(),
            replaced: BTreeSet::new(),
            moved: BTreeSet::new(),
            mended: Vec::new(),
            waits: BTreeMap::new(),
        })
    }

    /// Keys of networks that the selected services are on.
    fn networks(&mut self) -> Result<()> {
        let services = self
            .selected
            .iter()
            .map(|name| &self.desired.model.services[name]);
        let used: BTreeSet<&String> = services.flat_map(|service| service.networks.keys()).collect();
        for key in used {
            let Some(network) = self.desired.model.networks.get(key) else {
                continue;
            };
            let name = network.name.clone();
            let present = self.observed.networks.get(&name);
            match present {
                None if network.external => return Err(ComposeError::NoNetwork(name)),
                Some(_) if network.external => continue,
                None => {}
                Some(thing) => {
                    self.check_owner("network", &name, thing, labels::NETWORK, key)?;
                    let hash = self.desired.network_hash(key);
                    let before = thing.label(labels::CONFIG_HASH);
                    if self.options.no_recreate || before.is_empty() || before == hash {
                        continue;
                    }
                }
            }
            let after = match present {
                Some(_) => vec![self.vacate(&name)],
                None => Vec::new(),
            };
            let action = Action::CreateNetwork {
                key: key.clone(),
                name: name.clone(),
            };
            let step = self.plan.push(action, after);
            self.networks.insert(name, step);
        }
        Ok(())
    }

    /// Stops whoever is on a network, and takes it away.
    fn vacate(&mut self, name: &str) -> usize {
        self.new_networks.insert(name.to_owned());
        let on_it = self.observed.members.iter();
        let on_it: Vec<_> = on_it
            .filter(|member| member.is_running() && member.networks.contains(name))
            .collect();
        let mut after = Vec::new();
        for member in on_it {
            let action = Action::Stop {
                service: member.service.clone(),
                name: member.name.clone(),
            };
            after.push(self.plan.push(action, Vec::new()));
        }
        let action = Action::RemoveNetwork {
            name: name.to_owned(),
            must: true,
        };
        self.plan.push(action, after)
    }

    fn volumes(&mut self) -> Result<()> {
        let services = self
            .selected
            .iter()
            .map(|name| &self.desired.model.services[name]);
        let mounts = services.flat_map(|service| &service.volumes);
        let used: BTreeSet<&String> = mounts.filter_map(|mount| mount.source.as_ref()).collect();
        for key in used {
            let Some(volume) = self.desired.model.volumes.get(key) else {
                continue;
            };
            let name = volume.name.clone();
            match self.observed.volumes.get(&name) {
                None if volume.external => return Err(ComposeError::NoVolume(name)),
                None => {
                    let action = Action::CreateVolume {
                        key: key.clone(),
                        name: name.clone(),
                    };
                    let step = self.plan.push(action, Vec::new());
                    self.volumes.insert(name, step);
                }
                Some(_) if volume.external => {}
                Some(thing) => {
                    let owner = thing.label(labels::PROJECT);
                    if owner != self.desired.name {
                        let whose = match owner {
                            "" => "was not made by Compose".to_owned(),
                            owner => format!("was made for project \"{owner}\""),
                        };
                        self.plan.warnings.push(format!(
                            "volume \"{name}\" {whose} and is used as it is: write `external: true` if that is meant"
                        ));
                        continue;
                    }
                    let before = thing.label(labels::CONFIG_HASH);
                    if !before.is_empty() && before != self.desired.volume_hash(key) {
                        self.changed_volume(key, name);
                    }
                }
            }
        }
        Ok(())
    }

    /// It is kept for what is in it, unless somebody has said that it can go.
    fn changed_volume(&mut self, key: &str, name: String) {
        if !self.options.renew_volumes {
            return self.plan.warnings.push(format!(
                "volume \"{name}\" was made with another configuration, and is kept with what is in it; `up -y` makes it anew, \
                 and what is in it is lost"
            ));
        }
        let members = self.observed.members.iter();
        for member in members.filter(|member| member.volumes.contains(&name)) {
            // It may have gone with another volume.
            if self.gone.insert(member.id.clone()) {
                let step = self.plan.take_away(member, false, Vec::new());
                self.mended.push(step);
                self.replaced.insert(member.service.clone());
            }
        }
        let remove = Action::RemoveVolume {
            name: name.clone(),
            must: true,
        };
        let after = self.mended.clone();
        let removed = self.plan.push(remove, after);
        let create = Action::CreateVolume {
            key: key.to_owned(),
            name: name.clone(),
        };
        let step = self.plan.push(create, vec![removed]);
        self.volumes.insert(name, step);
    }

    /// A network that somebody else made has somebody else's addresses.
    fn check_owner(
        &self,
        kind: &'static str,
        name: &str,
        thing: &Thing,
        label: &'static str,
        key: &str,
    ) -> Result<()> {
        let wrong = |label: &'static str, expected: &str| {
            Err(ComposeError::NotOurs {
                kind,
                name: name.to_owned(),
                label,
                value: thing.label(label).to_owned(),
                expected: expected.to_owned(),
            })
        };
        if thing.label(labels::PROJECT) != self.desired.name {
            return wrong(labels::PROJECT, &self.desired.name);
        }
        match thing.label(label) == key {
            true => Ok(()),
            false => wrong(label, key),
        }
    }

    /// Steps after which a container of this service may be started.
    pub(super) fn gates(&mut self, service: &str) -> Vec<usize> {
        let mut gates = Vec::new();
        let desired = self.desired;
        for (name, dependency) in graph::dependencies(&desired.model.services[service]) {
            if !self.selected.contains(&name) || self.options.no_start {
                continue;
            }
            let started = self.started.get(&name).cloned().unwrap_or_default();
            match dependency.condition {
                Condition::ServiceStarted => gates.extend(started),
                condition => gates.push(self.wait(&name, condition, dependency.required, started)),
            }
        }
        gates
    }

    /// One step for all who wait for the same. It is only then not needed if none of them does.
    fn wait(&mut self, service: &str, condition: Condition, required: bool, after: Vec<usize>) -> usize {
        let key = (service.to_owned(), labels::condition(condition));
        if let Some(step) = self.waits.get(&key) {
            if let Action::Wait { required: known, .. } = &mut self.plan.steps[*step].action {
                *known |= required;
            }
            return *step;
        }
        let action = Action::Wait {
            service: service.to_owned(),
            condition,
            required,
            names: self.plan.names.get(service).cloned().unwrap_or_default(),
        };
        let step = self.plan.push(action, after);
        self.waits.insert(key, step);
        step
    }

    fn orphans(&mut self) {
        let members = self.observed.members.iter();
        let orphans: Vec<_> = members
            .filter(|member| !member.one_off && !self.desired.knows(&member.service))
            .filter(|member| !self.gone.contains(&member.id))
            .collect();
        if orphans.is_empty() || (self.options.ignore_orphans && !self.options.remove_orphans) {
            return;
        }
        if !self.options.remove_orphans {
            let names: Vec<&str> = orphans.iter().map(|member| member.name.as_str()).collect();
            return self.plan.warnings.push(format!(
                "Found orphan containers ([{}]) for this project. If you removed or renamed this service in your compose \
                 file, you can run this command with the --remove-orphans flag to clean it up.",
                names.join(" ")
            ));
        }
        for member in orphans {
            self.plan.take_away(member, false, Vec::new());
        }
    }
}
