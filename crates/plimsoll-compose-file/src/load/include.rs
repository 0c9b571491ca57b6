//! `include`: other projects' files, each loaded from its own folder.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use plimsoll_diagnostics::Diagnostic;

use super::{LoadOptions, Loader};
use crate::merge::{merge, settle};
use crate::node::{Entry, Node};
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
            let mut model = self.included(entry)?;
            included = Some(match included {
                None => model,
                Some(earlier) => {
                    self.leave_out_known(&earlier, &mut model);
                    merge(earlier, model, Kind::Object(PROJECT), self.found)
                }
            });
        }
        match included {
            None => Some(document),
            Some(included) => Some(merge(included, document, Kind::Object(PROJECT), self.found)),
        }
    }

    /// What two entries include alike is there once; what they say differently of one thing is a mistake.
    fn leave_out_known(&mut self, earlier: &Node, model: &mut Node) {
        for section in SECTIONS {
            let known = earlier.get(section).map_or(&[][..], Node::entries);
            let Some(entries) = model.get_mut(section).and_then(Node::entries_mut) else {
                continue;
            };
            let (again, new): (Vec<_>, Vec<_>) = std::mem::take(entries)
                .into_iter()
                .partition(|entry| known.iter().any(|known| known.key == entry.key));
            *entries = new;
            for entry in again {
                let first = known.iter().find(|known| known.key == entry.key);
                if let Some(first) = first.filter(|first| first.value.to_json() != entry.value.to_json()) {
                    self.say_conflict(section, first, &entry);
                }
            }
        }
    }

    fn say_conflict(&mut self, section: &str, first: &Entry, second: &Entry) {
        let source = &first.place.source;
        let at = source.position(first.place.span.start);
        let message = format!(
            "`{section}.{}` is included twice, and differently: also from {}:{}:{}",
            second.key, source.name, at.line, at.column
        );
        let error = second.place.error("compose-include", message);
        let help = "rename one of them, or put both files into one entry of `include`: then the second is merged over the first";
        self.found.push(error.with_help(help));
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
            let error = entry.place.error("compose-include", "`include` needs a `path`");
            self.found
                .push(error.with_help("name the compose file: `- path: FILE`"));
            return None;
        };
        if let Some(file) = files.iter().find(|file| self.stack.contains(file)) {
            let message = format!("circular include: `{file}` includes itself");
            let error = entry.place.error("compose-include", message);
            self.found.push(error.with_help("take this entry out"));
            return None;
        }
        if let Some(missing) = files.iter().find(|file| !file.is_file()) {
            let (what, help) = match missing.is_dir() {
                true => ("is a folder, not a file", crate::file_in(missing)),
                false => ("is not there", None),
            };
            let error = entry
                .place
                .error("compose-include", format!("the file `{missing}` {what}"));
            self.found.push(error.with_help(match help {
                Some(file) => format!("did you mean `{file}`?"),
                None => "paths start at the folder of the file that names them".to_owned(),
            }));
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
            forgives_variables: self.forgives,
            ..LoadOptions::default()
        };
        let stack = self.stack.clone();
        let before = self.found.len();
        let Some(mut loader) = Loader::new(&options, self.fetch, self.found) else {
            // A file that is not there is said where it is named.
            let unplaced = |error: &Diagnostic| error.labels.is_empty();
            for error in self.found[before..].iter_mut().filter(|error| unplaced(error)) {
                *error = entry.place.error("compose-include", error.message.clone());
            }
            return None;
        };
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
