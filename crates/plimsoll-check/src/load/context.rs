//! Build contexts: which folder a Dockerfile is built with, and what lies in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use plimsoll_dockerfile::{CopySource, IgnoreFile, InstructionKind};

use super::{Found, Reader, Use};
use crate::engine::parallel;
use crate::view::{ContextEntry, ContextKind, ContextView, DockerfileView, IgnoreView, Workspace};

/// More entries than this are not listed: nobody reads on, and a build of such a context is slow for other reasons.
const MOST: usize = 50_000;

/// The contexts of all Dockerfiles that copy from one, and of all `.dockerignore` files.
pub(super) fn contexts(
    reader: &Reader<'_>,
    workspace: &Workspace,
    uses: &BTreeMap<Utf8PathBuf, Use>,
    found: &Found,
) -> Vec<ContextView> {
    // By folder and by the ignore file that counts: a Dockerfile may have one of its own.
    let mut wanted: BTreeMap<(Utf8PathBuf, Utf8PathBuf), BTreeSet<Utf8PathBuf>> = BTreeMap::new();
    for view in workspace
        .dockerfiles
        .iter()
        .filter(|view| view.path.is_absolute())
    {
        let sources = sources(view);
        if sources.is_empty() || view.path.file_name() == Some("-") {
            continue;
        }
        let folders = match uses.get(&view.path) {
            Some(used) => used.contexts.clone(),
            None => BTreeSet::from_iter(likely(&view.path, &sources, &reader.inputs.current)),
        };
        let own = Utf8PathBuf::from(format!("{}.dockerignore", view.path));
        for folder in folders {
            let ignore = match reader.exists(&own) {
                true => own.clone(),
                false => folder.join(".dockerignore"),
            };
            wanted
                .entry((folder, ignore))
                .or_default()
                .insert(view.path.clone());
        }
    }
    for ignore in found
        .ignores
        .iter()
        .filter(|path| path.file_name() == Some(".dockerignore"))
    {
        let folder = ignore.parent().unwrap_or(Utf8Path::new("/")).to_owned();
        wanted.entry((folder, ignore.clone())).or_default();
    }
    let wanted: Vec<_> = wanted.into_iter().collect();
    let views = parallel(&wanted, |((folder, ignore), dockerfiles)| {
        let ignore = reader.ignore(ignore);
        let (entries, truncated) = list(folder, ignore.as_ref());
        ContextView {
            folder: folder.clone(),
            ignore,
            entries,
            truncated,
            dockerfiles: dockerfiles.iter().cloned().collect(),
        }
    });
    views.into_iter().collect()
}

impl Reader<'_> {
    fn exists(&self, path: &Utf8Path) -> bool {
        self.inputs.texts.contains_key(path) || path.is_file()
    }

    fn ignore(&self, path: &Utf8Path) -> Option<IgnoreView> {
        let (source, _) = self.read(path).ok()?;
        let file = IgnoreFile::parse(&source);
        Some(IgnoreView { source, file })
    }
}

/// The paths that COPY and ADD take from the context, as far as they are known.
fn sources(view: &DockerfileView) -> Vec<String> {
    let mut sources = Vec::new();
    for step in view.steps() {
        let (InstructionKind::Copy(copy) | InstructionKind::Add(copy)) = step.effective() else {
            continue;
        };
        if copy.from.is_some() {
            continue;
        }
        for source in &copy.sources {
            if let CopySource::Path(word) = source {
                let path = view.expand(step.at, word).unwrap_or_else(|| ".".to_owned());
                if !path.contains("://") && !path.starts_with("git@") {
                    sources.push(path);
                }
            }
        }
    }
    sources
}

/// The folder that a Dockerfile is probably built with: its own, or the nearest above that holds what is copied.
fn likely(dockerfile: &Utf8Path, sources: &[String], top: &Utf8Path) -> Option<Utf8PathBuf> {
    let own = dockerfile.parent()?;
    let literal = |source: &&String| {
        !source.contains(['*', '?', '[', '$']) && !matches!(source.trim_matches('/'), "." | "" | "./")
    };
    let literals: Vec<&String> = sources.iter().filter(literal).collect();
    let holds = |folder: &&Utf8Path| {
        literals
            .iter()
            .any(|source| folder.join(source.trim_start_matches('/')).exists())
    };
    let mut above = own.ancestors().take_while(|folder| folder.starts_with(top));
    let found = above.find(holds);
    Some(found.unwrap_or(own).to_owned())
}

/// Lists a context; below a folder that is left out for good nothing is looked at.
fn list(folder: &Utf8Path, ignore: Option<&IgnoreView>) -> (Vec<ContextEntry>, bool) {
    let patterns = ignore.and_then(|ignore| ignore.file.as_ref().ok());
    let mut entries = Vec::new();
    let mut open = vec![Utf8PathBuf::new()];
    while let Some(below) = open.pop() {
        let Ok(read) = folder.join(&below).read_dir_utf8() else {
            continue;
        };
        let mut found: Vec<_> = read.flatten().collect();
        found.sort_by(|one, other| one.file_name().cmp(other.file_name()));
        let mut folders = Vec::new();
        for entry in found {
            if entries.len() == MOST {
                return (entries, true);
            }
            let path = below.join(entry.file_name());
            let Ok(metadata) = fs::symlink_metadata(entry.path()) else {
                continue;
            };
            let sent = !patterns.is_some_and(|patterns| patterns.excludes(path.as_str()));
            let kind = match metadata.file_type() {
                kind if kind.is_dir() => ContextKind::Folder,
                kind if kind.is_symlink() => ContextKind::Link,
                _ => ContextKind::File,
            };
            let listed = sent || patterns.is_some_and(|patterns| patterns.may_include_below(path.as_str()));
            if kind == ContextKind::Folder && listed {
                folders.push(path.clone());
            }
            let size = if kind == ContextKind::File {
                metadata.len()
            } else {
                0
            };
            entries.push(ContextEntry {
                path: path.into_string(),
                kind,
                size,
                sent,
            });
        }
        open.extend(folders.into_iter().rev());
    }
    (entries, false)
}
