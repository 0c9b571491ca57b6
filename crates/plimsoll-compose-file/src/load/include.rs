//! `include`: other projects' files, each loaded from its own folder.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;

use super::{LoadOptions, Loader};
use crate::merge::{merge, settle};
use crate::node::Node;
use crate::schema::{Kind, PROJECT};

/// What is taken from an included file.
const SECTIONS: [&str; 6] = ["services", "networks", "volumes", "secrets", "configs", "models"];

impl Loader<'_> {
    /// Puts what a document includes under it: what it says itself wins.
    pub(super) fn include(&mut self, mut document: Node) -> Option<Node> {
        let Some(list) = document.take("include") else {
            return Some(document);
        };
        let mut included: Option<Node> = None;
        for entry in list.items() {
            let model = self.included(entry)?;
            included = Some(match included {
                None => model,
                Some(earlier) => merge(earlier, model, Kind::Object(PROJECT), self.found),
            });
        }
        match included {
            None => Some(document),
            Some(included) => Some(merge(included, document, Kind::Object(PROJECT), self.found)),
        }
    }

    fn included(&mut self, entry: &Node) -> Option<Node> {
        let texts = |key: &str| -> Vec<String> {
            let items = entry.get(key).map_or(&[][..], Node::items);
            items
                .iter()
                .filter_map(Node::as_text)
                .map(str::to_owned)
                .collect()
        };
        let folder = self.folder.clone();
        let mut files: Vec<Utf8PathBuf> = Vec::new();
        for path in texts("path") {
            files.push(self.located(&folder, &path, &entry.place)?);
        }
        let Some(first) = files.first() else {
            self.found
                .push(entry.place.error("compose-include", "`include` needs a `path`"));
            return None;
        };
        if let Some(file) = files.iter().find(|file| self.stack.contains(file)) {
            let message = format!("circular include: `{file}` includes itself");
            self.found.push(entry.place.error("compose-include", message));
            return None;
        }
        if let Some(missing) = files.iter().find(|file| !file.is_file()) {
            let error = entry
                .place
                .error("compose-include", format!("there is no file `{missing}`"));
            self.found.push(error);
            return None;
        }
        let folder = match entry.text_of("project_directory") {
            Some(folder) => self.folder.join(folder),
            None => first.parent()?.to_owned(),
        };
        let env_files = texts("env_file");
        let options = LoadOptions {
            files: files.clone(),
            project_directory: Some(folder),
            env_files: (!env_files.is_empty())
                .then(|| env_files.iter().map(|file| self.folder.join(file)).collect()),
            environment: self.values(),
            current: self.current.clone(),
            no_interpolate: !self.interpolates,
            texts: self.texts.clone(),
            no_path_resolution: self.keeps_paths,
            ..LoadOptions::default()
        };
        let stack = self.stack.clone();
        let mut loader = Loader::new(&options, self.fetch, self.found)?;
        loader.stack = stack;
        let mut sources = Vec::new();
        for file in files {
            let source = loader.read(&file)?;
            sources.push((file, source));
        }
        let mut model = loader.model(&sources)?;
        settle(&mut model);
        if let Some(entries) = model.entries_mut() {
            entries.retain(|entry| SECTIONS.contains(&entry.key.as_str()));
        }
        Some(model)
    }

    /// What counts as the caller's environment for an included file.
    fn values(&self) -> BTreeMap<String, String> {
        let pairs = self
            .environment
            .iter()
            .map(|(name, origin)| (name.clone(), origin.value.clone()));
        pairs.collect()
    }
}
