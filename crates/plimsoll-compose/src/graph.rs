//! What depends on what.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_compose_file::model::{Condition, Dependency, Model, Service};

/// What a service waits for: what `depends_on` says, and what it cannot be made without.
pub(crate) fn dependencies(service: &Service) -> BTreeMap<String, Dependency> {
    let mut all = service.depends_on.clone();
    let implied = parents(service).into_iter().chain(linked(service));
    for name in implied {
        all.entry(name).or_insert(Dependency {
            condition: Condition::ServiceStarted,
            restart: false,
            required: true,
        });
    }
    all
}

/// Services whose containers a container of this one refers to by id: when those are replaced, it has to be, too.
pub(crate) fn parents(service: &Service) -> BTreeSet<String> {
    let shared = [&service.network_mode, &service.ipc, &service.pid];
    let shared = shared.into_iter().flatten();
    let shared = shared.filter_map(|mode| mode.strip_prefix("service:"));
    let volumes = service
        .volumes_from
        .iter()
        .filter(|text| !text.starts_with("container:"))
        .map(|text| text.split(':').next().unwrap_or_default());
    shared.chain(volumes).map(str::to_owned).collect()
}

fn linked(service: &Service) -> impl Iterator<Item = String> + '_ {
    let names = service.links.iter();
    names.map(|link| link.split(':').next().unwrap_or_default().to_owned())
}

/// The services of a model, each after those it depends on; names that are no services are passed over.
pub(crate) fn ordered(model: &Model) -> Vec<String> {
    let edges = model.services.iter().map(|(name, service)| {
        let needs = dependencies(service).into_keys().collect();
        (name.clone(), needs)
    });
    sorted(&edges.collect())
}

/// Names, each after those it needs. A circle is broken somewhere: the loader refuses it.
pub(crate) fn sorted(edges: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    fn visit(
        name: &str,
        edges: &BTreeMap<String, BTreeSet<String>>,
        seen: &mut BTreeSet<String>,
        order: &mut Vec<String>,
    ) {
        let Some(needs) = edges.get(name) else { return };
        if !seen.insert(name.to_owned()) {
            return;
        }
        for need in needs {
            visit(need, edges, seen, order);
        }
        order.push(name.to_owned());
    }
    let (mut seen, mut order) = (BTreeSet::new(), Vec::new());
    for name in edges.keys() {
        visit(name, edges, &mut seen, &mut order);
    }
    order
}

/// These services and all they depend on, directly or not; all of the model where none is named.
pub(crate) fn closure(model: &Model, names: &[String], with_dependencies: bool) -> BTreeSet<String> {
    if names.is_empty() {
        return model.services.keys().cloned().collect();
    }
    let mut found = BTreeSet::new();
    let mut waiting: Vec<String> = names.to_vec();
    while let Some(name) = waiting.pop() {
        let Some(service) = model.services.get(&name) else {
            continue;
        };
        if found.insert(name) && with_dependencies {
            waiting.extend(dependencies(service).into_keys());
        }
    }
    found
}

/// These names and all they need, directly or not.
pub(crate) fn reachable(edges: &BTreeMap<String, BTreeSet<String>>, names: &[String]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut waiting: Vec<&String> = names.iter().collect();
    while let Some(name) = waiting.pop() {
        if found.insert(name.clone()) {
            waiting.extend(edges.get(name).into_iter().flatten());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn edges(list: &[(&str, &[&str])]) -> BTreeMap<String, BTreeSet<String>> {
        let owned = list.iter().map(|(name, needs)| {
            let needs = needs.iter().map(|need| (*need).to_owned()).collect();
            ((*name).to_owned(), needs)
        });
        owned.collect()
    }

    #[test]
    fn what_is_needed_comes_first() {
        let order = sorted(&edges(&[
            ("app", &["db", "cache"]),
            ("cache", &[]),
            ("db", &["net"]),
            ("net", &[]),
        ]));
        assert_eq!(order, ["cache", "net", "db", "app"]);
    }

    proptest! {
        #[test]
        fn any_graph_without_circles_is_ordered(pairs in proptest::collection::vec((0_u8..20, 0_u8..20), 0..80)) {
            let mut graph: BTreeMap<String, BTreeSet<String>> =
                (0_u8..20).map(|name| (format!("{name:02}"), BTreeSet::new())).collect();
            for (one, other) in pairs.into_iter().filter(|(one, other)| one != other) {
                let (from, to) = (one.max(other), one.min(other));
                graph.get_mut(&format!("{from:02}")).unwrap().insert(format!("{to:02}"));
            }
            let order = sorted(&graph);
            prop_assert_eq!(order.len(), graph.len());
            let place = |name: &String| order.iter().position(|other| other == name);
            for (name, needs) in &graph {
                for need in needs {
                    prop_assert!(place(need) < place(name));
                }
            }
        }
    }
}
