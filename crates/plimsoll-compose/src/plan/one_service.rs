//! `up`, of one service: which containers stay, which are replaced, which are made, and which go.

use std::collections::BTreeMap;

use plimsoll_compose_file::model::{Condition, Order, Service};
use plimsoll_container::Status;

use super::up::Planner;
use super::{Action, Old};
use crate::graph;
use crate::observed::Seen;
use crate::reason::reason;

/// A container to be started, and the step after which it is there.
type Waiting = (String, Option<usize>);

/// A container that is there, and why it cannot stay.
type Judged<'a> = (&'a Seen, Option<String>);

/// A container that goes when the one of this number and name is well.
type Replacement = (Old, u32, String);

impl<'a> Planner<'a> {
    pub(super) fn service(&mut self, name: &str) {
        let desired = self.desired;
        let service = &desired.model.services[name];
        let count = self.options.scale.get(name).copied();
        let count = count.unwrap_or_else(|| service.replicas()) as usize;
        let (judged, leaving) = self.judge(name, service, count);
        self.warn_of_ports(name, service, count);
        let mut numbers = self.numbers(name);
        let missing = count - judged.len();
        let new: Vec<u32> = (0..missing).map(|_| numbers.next()).collect();
        let is_rolled = |(member, reason): &Judged<'_>| {
            reason.is_some() && member.is_running() && starts_first(service) && !self.options.no_start
        };
        let (rolled, judged): (Vec<_>, Vec<_>) = judged.into_iter().partition(is_rolled);
        let replacement = |(member, reason): Judged<'_>| {
            let number = numbers.lowest();
            let new_name = desired.container_name(name, number);
            (old(member, reason.as_deref()), number, new_name)
        };
        let replacements: Vec<Replacement> = rolled.into_iter().map(replacement).collect();
        let kept = judged.iter().map(|(member, _)| self.name_of(member));
        let updated = replacements.iter().map(|(_, _, new_name)| new_name.clone());
        let added = new.iter().map(|number| desired.container_name(name, *number));
        let names = kept.chain(updated).chain(added).collect();
        self.plan.names.insert(name.to_owned(), names);

        let is_replaced = judged.iter().any(|(_, reason)| reason.is_some());
        if is_replaced || !new.is_empty() || !replacements.is_empty() {
            self.warn_of_files(name);
        }
        let mut resources = self.resources(service);
        resources.extend(&leaving);
        let stays = |(member, reason): &Judged<'_>| reason.is_none() && member.is_running();
        let runs = judged.iter().any(stays);
        let mut waiting = Vec::new();
        for (member, reason) in judged {
            match reason {
                Some(reason) => {
                    self.replaced.insert(name.to_owned());
                    let replaces = Some(old(member, Some(&reason)));
                    waiting.push(self.create(name, member.number, replaces, &resources));
                }
                None => waiting.extend(self.keep(name, service, member)),
            }
        }
        for number in new {
            waiting.push(self.create(name, number, None, &resources));
        }
        if !self.options.no_start && (!waiting.is_empty() || !replacements.is_empty()) {
            let gates = self.gates(name).into_iter().chain(leaving).collect();
            self.start(name, (waiting, replacements), gates, (resources, runs));
        }
    }

    /// The containers of a service that it keeps or replaces, by number, and the steps that take away those it has too many of:
    /// as far as somebody waits for their ports.
    fn judge(&mut self, name: &str, service: &Service, count: usize) -> (Vec<Judged<'a>>, Vec<usize>) {
        let mut judged: Vec<Judged<'a>> = Vec::new();
        for member in self.distinct(name) {
            judged.push((member, self.reason(name, service, member)));
        }
        // What goes first: what is out of date, then what does not run, then the highest number. Of two that an update which was
        // killed has left, the one that has the ports stays, to hand them over.
        judged.sort_by_key(|(member, reason)| {
            (
                reason.is_some(),
                member.lacks_ports,
                !member.is_running(),
                member.number,
            )
        });
        let surplus = judged.split_off(count.min(judged.len()));
        judged.sort_by_key(|(member, _)| member.number);
        let leaving = surplus.into_iter();
        let mut leaving: Vec<usize> = leaving
            .map(|(member, _)| self.plan.take_away(member, false, Vec::new()))
            .collect();
        if service.ports.is_empty() {
            leaving.clear();
        }
        (judged, leaving)
    }

    /// Those that are free for new containers of a service.
    fn numbers(&self, name: &str) -> Numbers {
        let present = self.observed.of(name);
        let present = present.filter(|member| !self.gone.contains(&member.id));
        Numbers::of(present.map(|member| member.number))
    }

    /// Several containers cannot have one port of the host.
    fn warn_of_ports(&mut self, name: &str, service: &Service, count: usize) {
        let published = service.ports.iter().filter_map(|port| port.published.as_deref());
        for published in published.filter(|published| !published.is_empty() && *published != "0") {
            let (first, last) = published.split_once('-').unwrap_or((published, published));
            let size = match (first.parse::<usize>(), last.parse::<usize>()) {
                (Ok(first), Ok(last)) => last.saturating_add(1).saturating_sub(first),
                _ => continue,
            };
            if count > size {
                self.plan.warnings.push(format!(
                    "service {name} is to have {count} containers, but publishes port {published}, which {size} can have: \
                     give a range as long as that"
                ));
            }
        }
    }

    /// A file that is not there becomes a folder, which is seldom meant.
    fn warn_of_files(&mut self, name: &str) {
        let missing = self.observed.missing_files.get(name);
        for (source, target) in missing.into_iter().flatten() {
            self.plan.warnings.push(format!(
                "service {name}: {source} is not there: a folder is made in its place and mounted on {target}; with \
                 `bind: {{create_host_path: false}}` that is an error"
            ));
        }
    }

    /// Starts what has to be started, when what it depends on is ready.
    fn start(
        &mut self,
        name: &str,
        (waiting, replacements): (Vec<Waiting>, Vec<Replacement>),
        gates: Vec<usize>,
        (resources, runs): (Vec<usize>, bool),
    ) {
        self.moved.insert(name.to_owned());
        let service = self.desired.model.services.get(name);
        let mut started = self.plan.start_all((name, service), waiting, &gates, runs);
        if !replacements.is_empty() {
            self.replaced.insert(name.to_owned());
            // What is started beside it runs what the service has once.
            let before = started.iter().copied();
            let after = gates.into_iter().chain(resources).chain(before).collect();
            let action = Action::Roll {
                service: name.to_owned(),
                replacements,
            };
            started.push(self.plan.push(action, after));
        }
        self.started.entry(name.to_owned()).or_default().extend(started);
    }

    /// The containers of a service, one for each number: a process that died while it replaced one has left two.
    fn distinct(&mut self, name: &str) -> Vec<&'a Seen> {
        let mut by_number: BTreeMap<u32, Vec<&'a Seen>> = BTreeMap::new();
        let observed = self.observed;
        for member in observed
            .members
            .iter()
            .filter(|member| member.service == name && !member.one_off && !self.gone.contains(&member.id))
        {
            by_number.entry(member.number).or_default().push(member);
        }
        let hash = self.desired.hash(name).to_owned();
        let mut kept = Vec::new();
        for mut group in by_number.into_values() {
            group.sort_by_key(|member| (member.hash == hash, member.created));
            kept.extend(group.pop());
            for member in group {
                let step = self.plan.take_away(member, false, Vec::new());
                self.mended.push(step);
            }
        }
        kept
    }

    /// Why a container cannot stay.
    fn reason(&self, name: &str, service: &Service, member: &Seen) -> Option<String> {
        let options = self.options;
        if options.no_recreate {
            return None;
        }
        let is_named = options.services.is_empty() || options.services.iter().any(|named| named == name);
        if options.force_recreate && is_named || options.always_recreate_deps && !is_named {
            return Some("asked for".to_owned());
        }
        if member.hash != self.desired.hash(name) {
            let now = self.desired.essence(name);
            return Some(reason(
                member.origin.as_ref(),
                now.unwrap_or(&serde_json::Value::Null),
            ));
        }
        // The fingerprint is Docker's, which does not have it.
        let heals = |service: Option<&serde_json::Value>| {
            service
                .and_then(|service| service.get(Service::AUTOHEAL))
                .cloned()
        };
        if member.origin.is_some() && heals(member.origin.as_ref()) != heals(self.desired.essence(name)) {
            return Some(format!("{} changed", Service::AUTOHEAL));
        }
        let image = self.observed.images.get(name);
        if image.is_some_and(|image| *image != member.image) {
            return Some("the image changed".to_owned());
        }
        if member.lacks_ports {
            return Some("a port it should have is missing".to_owned());
        }
        if let Some(file) = self.observed.stale_files.get(&member.id) {
            return Some(file.clone());
        }
        let parent = graph::parents(service).into_iter();
        if let Some(parent) = parent.into_iter().find(|parent| self.replaced.contains(parent)) {
            return Some(format!("{parent} was replaced"));
        }
        self.misses(service, member)
    }

    /// A network or volume that it should have and has not.
    fn misses(&self, service: &Service, member: &Seen) -> Option<String> {
        let model = &self.desired.model;
        let networks = service.networks.keys().filter_map(|key| model.networks.get(key));
        for network in networks {
            if self.new_networks.contains(&network.name) {
                return Some(format!("network {} changed", network.name));
            }
            if !member.networks.contains(&network.name) {
                return Some(format!("it is not on network {}", network.name));
            }
        }
        let sources = service.volumes.iter().filter_map(|mount| mount.source.as_ref());
        let mut volumes = sources.filter_map(|key| model.volumes.get(key));
        let missing = volumes.find(|volume| !member.volumes.contains(&volume.name));
        missing.map(|volume| format!("it has not volume {}", volume.name))
    }

    /// A container that stays: it runs, has done what it was to do, or is to be started.
    fn keep(&mut self, name: &str, service: &Service, member: &Seen) -> Option<Waiting> {
        let called = self.name_of(member);
        let renamed = (called != member.name).then(|| {
            let action = Action::Rename {
                id: member.id.clone(),
                name: called.clone(),
            };
            let after = self.mended.clone();
            self.plan.push(action, after)
        });
        if !member.is_running() {
            let is_done = !self.options.no_start && self.is_done(name, service, member);
            if is_done {
                self.plan.settled.push((called, "Exited"));
                return None;
            }
            return Some((called, renamed));
        }
        match self.reason_to_restart(service) {
            Some(reason) if !self.options.no_start => {
                self.moved.insert(name.to_owned());
                let mut after = self.gates(name);
                after.extend(renamed);
                let action = Action::Restart {
                    service: name.to_owned(),
                    name: called,
                    reason,
                };
                let step = self.plan.push(action, after);
                self.started.entry(name.to_owned()).or_default().push(step);
            }
            _ => {
                let word = if member.status == Status::Paused {
                    "Paused"
                } else {
                    "Running"
                };
                self.plan.settled.push((called, word));
            }
        }
        None
    }

    /// Something it depends on is another one now, or has another network namespace.
    fn reason_to_restart(&self, service: &Service) -> Option<String> {
        let parents = graph::parents(service);
        let moved = parents.iter().find(|parent| self.moved.contains(*parent));
        let replaced = service
            .depends_on
            .iter()
            .find(|(name, dependency)| dependency.restart && self.moved.contains(*name));
        let name = moved.or(replaced.map(|(name, _)| name))?;
        Some(format!("{name} was started anew"))
    }

    /// It has done what others wait for, and would do the same again: what it is made from and works on is unchanged.
    fn is_done(&self, name: &str, service: &Service, member: &Seen) -> bool {
        let ended_well = member.status == Status::Exited && member.exit_code == 0 && !member.stopped_by_user;
        let is_named = self.options.services.iter().any(|named| named == name);
        let is_awaited = self.desired.model.services.values().any(|other| {
            let dependency = other.depends_on.get(name);
            dependency
                .is_some_and(|dependency| dependency.condition == Condition::ServiceCompletedSuccessfully)
        });
        let sources = service.volumes.iter().filter_map(|mount| mount.source.as_ref());
        let mut volumes = sources.filter_map(|key| self.desired.model.volumes.get(key));
        let works_on_new = volumes.any(|volume| self.volumes.contains_key(&volume.name))
            || graph::dependencies(service)
                .keys()
                .any(|dependency| self.replaced.contains(dependency));
        ended_well && is_awaited && !is_named && !works_on_new
    }

    /// Steps after which all is there that a container of the service needs to be made.
    fn resources(&self, service: &Service) -> Vec<usize> {
        let model = &self.desired.model;
        let networks = service.networks.keys().filter_map(|key| model.networks.get(key));
        let networks = networks.filter_map(|network| self.networks.get(&network.name));
        let sources = service.volumes.iter().filter_map(|mount| mount.source.as_ref());
        let volumes = sources.filter_map(|key| model.volumes.get(key));
        let volumes = volumes.filter_map(|volume| self.volumes.get(&volume.name));
        let parents = graph::parents(service);
        let parents = parents
            .iter()
            .filter_map(|parent| self.made.get(parent))
            .flatten();
        networks.chain(volumes).chain(parents).copied().collect()
    }

    fn create(&mut self, name: &str, number: u32, replaces: Option<Old>, resources: &[usize]) -> Waiting {
        let container = self.desired.container_name(name, number);
        let after = resources.iter().chain(&self.mended).copied().collect();
        let action = Action::Create {
            service: name.to_owned(),
            number,
            name: container.clone(),
            replaces,
        };
        let step = self.plan.push(action, after);
        self.made.entry(name.to_owned()).or_default().push(step);
        (container, Some(step))
    }

    /// What a container is to be called: one that took another's place half-way still has a name of its own.
    fn name_of(&self, member: &Seen) -> String {
        let canonical = self.desired.container_name(&member.service, member.number);
        let prefix = member.name.strip_suffix(&format!("_{canonical}"));
        let is_half_way = prefix
            .is_some_and(|prefix| prefix.len() == 12 && prefix.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match is_half_way {
            true => canonical,
            false => member.name.clone(),
        }
    }
}

fn starts_first(service: &Service) -> bool {
    let update = service
        .deploy
        .as_ref()
        .and_then(|deploy| deploy.update_config.as_ref());
    update.is_some_and(|update| update.order == Some(Order::StartFirst))
}

fn old(member: &Seen, reason: Option<&str>) -> Old {
    Old {
        id: member.id.clone(),
        name: member.name.clone(),
        reason: reason.unwrap_or_default().to_owned(),
    }
}

/// Numbers for new containers.
struct Numbers {
    taken: Vec<u32>,
}

impl Numbers {
    fn of(taken: impl Iterator<Item = u32>) -> Self {
        Self {
            taken: taken.collect(),
        }
    }

    /// One above all others, as in Docker.
    fn next(&mut self) -> u32 {
        let next = self
            .taken
            .iter()
            .max()
            .map_or(1, |highest| highest.saturating_add(1));
        self.taken.push(next);
        next
    }

    /// The lowest that is free: containers that replace each other time and again are not to count up for ever.
    fn lowest(&mut self) -> u32 {
        let free = (1..).find(|number| !self.taken.contains(number));
        let free = free.expect("numbers do not end");
        self.taken.push(free);
        free
    }
}
