//! `extends`: a service on top of another one, of the same file or of another.

use camino::{Utf8Path, Utf8PathBuf};
use plimsoll_diagnostics::nearest;

use super::Loader;
use crate::merge::merge;
use crate::node::{Entry, Node};
use crate::schema::{Kind, tables};

/// What a service does not take from what it extends: they name things of the other's project.
const NOT_TAKEN: [&str; 1] = ["extends"];

/// Services on top of each other: each takes a part of the stack.
const MAX_CHAIN: usize = 256;

impl Loader<'_> {
    /// Replaces every service that extends another by what it comes to.
    pub(super) fn extend(&mut self, mut document: Node) -> Option<Node> {
        let names: Vec<String> = document
            .get("services")
            .map_or(&[][..], Node::entries)
            .iter()
            .map(|entry| entry.key.clone())
            .collect();
        let folder = self.folder.clone();
        for name in names {
            let service = document.at(&["services", &name])?;
            if service.get("extends").is_some_and(|extends| !extends.is_null()) {
                let whole = self.extended(&document, &name, &folder, &mut Vec::new())?;
                document.get_mut("services")?.set(&name, whole);
            }
        }
        Some(document)
    }

    /// A service with all that it stands on. `chain` is what led to it.
    fn extended(
        &mut self,
        document: &Node,
        name: &str,
        folder: &Utf8Path,
        chain: &mut Vec<(Utf8PathBuf, String)>,
    ) -> Option<Node> {
        let services = document.get("services")?;
        let service = services.get(name)?.clone();
        let Some(extends) = service
            .get("extends")
            .filter(|extends| !extends.is_null())
            .cloned()
        else {
            return Some(service);
        };
        let here = (self.stack.last().cloned().unwrap_or_default(), name.to_owned());
        // What many stand on is made once: else a long chain that is written from its end takes its square.
        let key = (here.0.clone(), folder.to_owned(), here.1.clone());
        if let Some(whole) = self.extended.get(&key) {
            return Some(whole.clone());
        }
        if chain.contains(&here) {
            let names: Vec<_> = chain
                .iter()
                .map(|(_, name)| name.as_str())
                .chain([name])
                .collect();
            let message = format!("circular reference: {}", names.join(" -> "));
            let error = extends.place.error("compose-extends", message);
            self.found
                .push(error.with_help("one of them has to stand on its own: take its `extends` out"));
            return None;
        }
        if chain.len() >= MAX_CHAIN {
            let message = format!("`extends` goes more than {MAX_CHAIN} services deep");
            let error = extends.place.error("compose-extends", message);
            self.found
                .push(error.with_help("let this service say itself what it takes from the other one"));
            return None;
        }
        chain.push(here);
        let Some(wanted) = extends.text_of("service").map(str::to_owned) else {
            let error = extends
                .place
                .error("compose-extends", "`extends` needs a `service`");
            self.found
                .push(error.with_help("name the service of that file: `service: NAME`"));
            return None;
        };
        let file = match extends.text_of("file").map(str::to_owned) {
            Some(file) => Some(self.located(folder, &file, &extends.place)?),
            None => None,
        };
        let base = match file {
            None => self
                .found_service(document, &wanted, &extends)
                .and_then(|()| self.extended(document, &wanted, folder, chain)),
            Some(path) => self.of_file(&path, &wanted, &extends, chain),
        };
        chain.pop();
        let mut base = base?;
        if let Some(entries) = base.entries_mut() {
            entries.retain(|entry: &Entry| !NOT_TAKEN.contains(&entry.key.as_str()));
        }
        let mut merged = merge(base, service, Kind::Object(tables::SERVICE), self.found);
        merged.take("extends");
        self.extended.insert(key, merged.clone());
        Some(merged)
    }

    fn of_file(
        &mut self,
        path: &Utf8Path,
        wanted: &str,
        extends: &Node,
        chain: &mut Vec<(Utf8PathBuf, String)>,
    ) -> Option<Node> {
        let folder = path.parent()?.to_owned();
        let key = (path.to_owned(), wanted.to_owned());
        if !self.others.contains_key(&key) {
            let before = self.found.len();
            self.only = Some(wanted.to_owned());
            let document = self.read(path).and_then(|source| self.shaped(&source, &folder));
            self.only = None;
            let Some(document) = document else {
                // A file that is not there is said where it is named.
                if self.found[before..].iter().all(|found| found.labels.is_empty()) {
                    let why = self.found.split_off(before);
                    let message = why
                        .first()
                        .map_or_else(String::new, |found| found.message.clone());
                    let error = extends.place.error("compose-extends", message);
                    let help = "paths start at the folder of the file that names them";
                    self.found.push(error.with_help(help));
                }
                return None;
            };
            self.others.insert(key.clone(), document);
        }
        let document = self.others[&key].clone();
        self.found_service(&document, wanted, extends)?;
        self.stack.push(path.to_owned());
        let service = self.extended(&document, wanted, &folder, chain);
        self.stack.pop();
        service
    }

    fn found_service(&mut self, document: &Node, wanted: &str, extends: &Node) -> Option<()> {
        let services = document.get("services").map_or(&[][..], Node::entries);
        if services.iter().any(|entry| entry.key == wanted) {
            return Some(());
        }
        let error = extends.place.error(
            "compose-extends",
            format!("there is no service `{wanted}` to extend"),
        );
        let near = nearest(wanted, services.iter().map(|entry| entry.key.as_str()));
        self.found.push(match near {
            Some(near) => error.with_help(format!("did you mean `{near}`?")),
            None => error.with_help(known_services(services)),
        });
        None
    }

    /// Leaves in a document that is extended only the service that is wanted, and those of the same file below it:
    /// what is wrong elsewhere in it is nobody's concern.
    pub(super) fn prune(&self, document: &mut Node) {
        let Some(wanted) = &self.only else { return };
        let services = document.get("services").map_or(&[][..], Node::entries);
        let find = |name: &str| services.iter().find(|entry| entry.key == name);
        let mut kept: Vec<&str> = Vec::new();
        let mut next = Some(wanted.as_str());
        while let Some(entry) = next
            .and_then(find)
            .filter(|entry| !kept.contains(&entry.key.as_str()))
        {
            kept.push(&entry.key);
            let extends = entry.value.get("extends");
            let here = extends.filter(|extends| extends.get("file").is_none_or(Node::is_null));
            next = here.and_then(|extends| extends.as_text().or_else(|| extends.text_of("service")));
        }
        // Nothing of that name: all names are left for "did you mean".
        if kept.is_empty() {
            return;
        }
        let kept: Vec<String> = kept.into_iter().map(str::to_owned).collect();
        if let Some(services) = document.get_mut("services").and_then(Node::entries_mut) {
            services.retain(|entry| kept.contains(&entry.key));
        }
        if let Some(sections) = document.entries_mut() {
            sections.retain(|section| section.key == "services");
        }
    }
}

fn known_services(services: &[Entry]) -> String {
    let names: Vec<&str> = services.iter().map(|entry| entry.key.as_str()).take(8).collect();
    match names.is_empty() {
        true => "that file has no services".to_owned(),
        false => format!("that file has {}", names.join(", ")),
    }
}
