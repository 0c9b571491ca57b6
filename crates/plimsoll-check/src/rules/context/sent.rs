//! What of a context a build takes, and what no build needs.

use plimsoll_diagnostics::Span;
use plimsoll_dockerfile::{Copy, CopySource, InstructionKind};

use crate::view::{ContextEntry, ContextKind, ContextView, DockerfileView, Workspace};

/// The Dockerfiles that are built with a context.
pub(super) fn dockerfiles<'a>(view: &'a ContextView, workspace: &'a Workspace) -> Vec<&'a DockerfileView> {
    let paths = view.dockerfiles.iter();
    paths.filter_map(|path| workspace.dockerfile(path)).collect()
}

/// COPYs and ADDs that read the context, with the paths they name, cleaned and with variables replaced.
pub(in crate::rules) fn copies(view: &DockerfileView) -> Vec<(&Copy, Vec<(String, Span)>)> {
    let mut all = Vec::new();
    for step in view.steps() {
        let (InstructionKind::Copy(copy) | InstructionKind::Add(copy)) = step.effective() else {
            continue;
        };
        if copy.from.is_some() {
            continue;
        }
        let mut paths = Vec::new();
        for source in &copy.sources {
            let CopySource::Path(word) = source else { continue };
            let Some(path) = view.expand(step.at, word) else {
                continue;
            };
            if path.contains("://") || path.starts_with("git@") {
                continue;
            }
            paths.push((clean(&path), word.span));
        }
        all.push((copy, paths));
    }
    all
}

/// `./src/` is `src`, `/` is `.`.
fn clean(path: &str) -> String {
    let parts: Vec<_> = path
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    match parts.is_empty() {
        true => ".".to_owned(),
        false => parts.join("/"),
    }
}

/// Whether a build takes the folder as a whole: then what lies in it without being needed is sent.
pub(super) fn takes_all(view: &ContextView, workspace: &Workspace) -> bool {
    let dockerfiles = dockerfiles(view, workspace);
    dockerfiles.iter().any(|dockerfile| {
        let copies = copies(dockerfile);
        copies
            .iter()
            .flat_map(|(_, paths)| paths)
            .any(|(path, _)| path == ".")
    })
}

/// Whether a build takes an entry: by a COPY of it or of a folder it is in.
pub(in crate::rules) fn is_taken(path: &str, view: &DockerfileView) -> Option<Span> {
    for (copy, paths) in copies(view) {
        let excluded = |pattern: &plimsoll_dockerfile::Word| {
            let pattern = pattern.value.trim_start_matches('/').trim_start_matches("**/");
            path == pattern || path.rsplit('/').next() == Some(pattern)
        };
        if copy.exclude.iter().any(excluded) {
            continue;
        }
        for (source, span) in paths {
            let below = |folder: &str| {
                path.strip_prefix(folder)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            let matches =
                || plimsoll_dockerfile::glob_match(source.as_bytes(), path.as_bytes()).unwrap_or(false);
            if source == "." || below(&source) || matches() {
                return Some(span);
            }
        }
    }
    None
}

/// Something that no build needs.
pub(super) struct Needless {
    /// The line for `.dockerignore`.
    pub(super) pattern: &'static str,
    /// Bytes that are sent for it.
    pub(super) size: u64,
}

/// How names are recognised.
enum Name {
    Is(&'static str),
    Ends(&'static str),
    Starts(&'static str),
}

/// When a file is needless.
#[derive(Clone, Copy)]
enum When {
    Always,
    /// Unless a RUN uses this program.
    Unless(&'static str),
    /// If a RUN makes it anew: one of these words is in it.
    Made(&'static [&'static str]),
    /// If there is a file of this name beside it.
    Beside(&'static [&'static str]),
}

const NODE: &[&str] = &["npm ", "yarn", "pnpm", "bun "];

/// Pattern, name, and when.
const CANDIDATES: &[(&str, Name, When)] = &[
    ("**/.git", Name::Is(".git"), When::Unless("git ")),
    ("**/.svn", Name::Is(".svn"), When::Always),
    ("**/.hg", Name::Is(".hg"), When::Always),
    ("**/node_modules", Name::Is("node_modules"), When::Made(NODE)),
    (
        "**/bower_components",
        Name::Is("bower_components"),
        When::Made(&["bower "]),
    ),
    ("**/.next", Name::Is(".next"), When::Made(&["build"])),
    ("**/.nuxt", Name::Is(".nuxt"), When::Made(&["build"])),
    ("**/.turbo", Name::Is(".turbo"), When::Always),
    ("**/.parcel-cache", Name::Is(".parcel-cache"), When::Always),
    (
        "**/coverage",
        Name::Is("coverage"),
        When::Beside(&["package.json"]),
    ),
    ("**/.nyc_output", Name::Is(".nyc_output"), When::Always),
    ("**/target", Name::Is("target"), When::Beside(&["Cargo.toml"])),
    ("**/.gradle", Name::Is(".gradle"), When::Always),
    ("**/__pycache__", Name::Is("__pycache__"), When::Always),
    ("**/*.pyc", Name::Ends(".pyc"), When::Always),
    (
        "**/.venv",
        Name::Is(".venv"),
        When::Made(&["pip ", "pip3 ", "poetry", "uv ", "pipenv"]),
    ),
    (
        "**/venv",
        Name::Is("venv"),
        When::Made(&["pip ", "pip3 ", "poetry", "uv ", "pipenv"]),
    ),
    ("**/.pytest_cache", Name::Is(".pytest_cache"), When::Always),
    ("**/.mypy_cache", Name::Is(".mypy_cache"), When::Always),
    ("**/.ruff_cache", Name::Is(".ruff_cache"), When::Always),
    ("**/.tox", Name::Is(".tox"), When::Always),
    ("**/.nox", Name::Is(".nox"), When::Always),
    ("**/.coverage", Name::Is(".coverage"), When::Always),
    ("**/.terraform", Name::Is(".terraform"), When::Always),
    ("**/.idea", Name::Is(".idea"), When::Always),
    ("**/.vscode", Name::Is(".vscode"), When::Always),
    ("**/.DS_Store", Name::Is(".DS_Store"), When::Always),
    ("**/*.swp", Name::Ends(".swp"), When::Always),
    ("**/*.log", Name::Ends(".log"), When::Always),
    ("**/.github", Name::Is(".github"), When::Always),
    ("**/.gitignore", Name::Is(".gitignore"), When::Always),
    ("Dockerfile*", Name::Starts("Dockerfile"), When::Always),
    (".dockerignore", Name::Is(".dockerignore"), When::Always),
    ("compose*.y*ml", Name::Starts("compose."), When::Always),
    (
        "docker-compose*.y*ml",
        Name::Starts("docker-compose"),
        When::Always,
    ),
];

/// What is sent though no build needs it, in the order of the table.
pub(super) fn needless(view: &ContextView, workspace: &Workspace) -> Vec<Needless> {
    let dockerfiles = dockerfiles(view, workspace);
    let texts: String = dockerfiles
        .iter()
        .map(|dockerfile| &*dockerfile.source.text)
        .collect();
    let named: Vec<String> = dockerfiles
        .iter()
        .flat_map(|dockerfile| copies(dockerfile))
        .flat_map(|(_, paths)| paths)
        .map(|(path, _)| path)
        .collect();
    let mut all = Vec::new();
    for (pattern, name, when) in CANDIDATES {
        let anywhere = pattern.starts_with("**/");
        let fits = |entry: &&ContextEntry| {
            let base = base(&entry.path);
            let is_named = match name {
                Name::Is(name) => base == *name,
                Name::Ends(end) => base.ends_with(end) && entry.kind == ContextKind::File,
                Name::Starts(start) => base.starts_with(start) && entry.kind == ContextKind::File,
            };
            is_named && entry.sent && (anywhere || !entry.path.contains('/'))
        };
        let found: Vec<_> = view
            .entries
            .iter()
            .filter(fits)
            .filter(|entry| is_needless(entry, *when, &texts, view))
            .collect();
        // What a COPY names itself is needed.
        let is_copied = |entry: &&ContextEntry| named.iter().any(|path| overlaps(path, &entry.path));
        if found.is_empty() || found.iter().any(is_copied) {
            continue;
        }
        let size = found.iter().map(|entry| size(entry, view)).sum();
        all.push(Needless { pattern, size });
    }
    all
}

fn is_needless(entry: &ContextEntry, when: When, texts: &str, view: &ContextView) -> bool {
    match when {
        When::Always => true,
        When::Unless(word) => !texts.contains(word),
        When::Made(words) => words.iter().any(|word| texts.contains(word)),
        When::Beside(names) => {
            let folder = entry.path.strip_suffix(base(&entry.path)).unwrap_or_default();
            names.iter().any(|name| {
                let path = format!("{folder}{name}");
                view.entries.iter().any(|entry| entry.path == path)
            })
        }
    }
}

/// Whether a COPY names a path, something in it, or a folder it is in that is not the whole context.
fn overlaps(named: &str, path: &str) -> bool {
    let below = |path: &str, folder: &str| {
        path.strip_prefix(folder)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    named != "." && (below(named, path) || named == path)
}

/// Bytes of an entry with all that is in it and sent.
fn size(entry: &ContextEntry, view: &ContextView) -> u64 {
    if entry.kind != ContextKind::Folder {
        return entry.size;
    }
    let prefix = format!("{}/", entry.path);
    let inside = view
        .entries
        .iter()
        .filter(|other| other.path.starts_with(&prefix) && other.sent);
    inside.map(|other| other.size).sum()
}

fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
