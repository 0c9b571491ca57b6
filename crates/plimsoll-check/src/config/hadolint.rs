//! `.hadolint.yaml`, as hadolint reads it.

use plimsoll_compose_file::{Node, parse};
use plimsoll_diagnostics::{Diagnostic, Source};

use super::{Config, FailOn, Level, UnknownWord, severity};

impl Config {
    /// Takes over what a `.hadolint.yaml` says. Ids that no rule has are passed over: the file was written for another
    /// tool. So are keys about its output.
    pub fn add_hadolint(&mut self, source: &Source) -> Result<(), Box<Diagnostic>> {
        let Some(file) = parse(source)? else { return Ok(()) };
        for id in texts(&file, "ignored") {
            let _ = self.set(id.as_text().unwrap_or_default(), Level::Off);
        }
        let overridden = file.get("override").map_or(&[][..], Node::entries);
        for entry in overridden {
            let level = severity(&entry.key).map_err(|error| wrong(&entry.value, &error))?;
            for id in entry.value.items().iter().filter_map(Node::as_text) {
                let _ = self.set(id, Level::At(level));
            }
        }
        let registries = texts(&file, "trustedRegistries").filter_map(Node::as_text);
        self.trusted_registries.extend(registries.map(str::to_owned));
        for entry in file.get("label-schema").map_or(&[][..], Node::entries) {
            let form = entry.value.as_text().unwrap_or("text").parse();
            let form = form.map_err(|error| wrong(&entry.value, &error))?;
            self.label_schema.insert(entry.key.clone(), form);
        }
        let is = |key: &str| file.get(key).is_some_and(Node::is_true);
        self.strict_labels |= is("strict-labels");
        self.no_suppressions |= is("disable-ignore-pragma");
        if let Some(node) = file.get("failure-threshold") {
            let threshold = node.as_text().unwrap_or_default().parse();
            self.fail_on = Some(threshold.map_err(|error| wrong(node, &error))?);
        }
        if is("no-fail") {
            self.fail_on = Some(FailOn::Never);
        }
        Ok(())
    }
}

fn texts<'a>(file: &'a Node, key: &str) -> impl Iterator<Item = &'a Node> {
    file.get(key).map_or(&[][..], Node::items).iter()
}

fn wrong(node: &Node, error: &UnknownWord) -> Box<Diagnostic> {
    Box::new(node.place.error("hadolint-config", error.to_string()))
}
