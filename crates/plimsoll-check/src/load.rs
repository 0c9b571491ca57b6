//! From paths to a [`Workspace`]: which files there are, what they say, and which belong together.
//!
//! Compose files are read first, because they say with which context, target and arguments a Dockerfile is built.

mod compose;
mod context;
mod find;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use plimsoll_diagnostics::{Diagnostic, Source, Span};

use crate::engine::parallel;
use crate::view::{BuildSettings, DockerfileView, Workspace};
use find::Found;
pub use find::is_known;

/// What is to be checked, and how it is built: plain data.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// Files, folders, and names that may be those of images.
    pub paths: Vec<String>,
    /// Text for the path `-`.
    pub stdin: Option<String>,
    /// Texts that stand for files, by absolute path: what an editor holds, or what a fix would write.
    pub texts: BTreeMap<Utf8PathBuf, String>,
    /// What `--target`, `--build-arg` and `--platform` say; it wins over compose files.
    pub build: BuildSettings,
    /// Variables for compose files.
    pub environment: BTreeMap<String, String>,
    /// The folder that relative paths start from, absolute.
    pub current: Utf8PathBuf,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Loaded {
    /// What is to be checked.
    pub workspace: Workspace,
    /// Names of the files that were looked at.
    pub files: Vec<String>,
    /// Paths that are no files: images, if anything.
    pub images: Vec<String>,
    /// What could not be read, one line each.
    pub errors: Vec<String>,
}

/// Reads everything that the paths name.
pub fn load(inputs: &Inputs) -> Loaded {
    let reader = Reader { inputs };
    let mut loaded = Loaded::default();
    let mut found = Found::default();
    for path in &inputs.paths {
        match path.as_str() {
            "-" => {}
            path => match found.add(inputs, path) {
                Ok(true) => {}
                Ok(false) => loaded.images.push(path.to_owned()),
                Err(error) => loaded.errors.push(format!("cannot read `{path}`: {error}")),
            },
        }
    }
    found.dedup();
    let projects = compose::projects(&reader, &found.composes);
    let uses = compose::builds(&projects);
    let (views, errors) = reader.dockerfiles(&found.dockerfiles, &uses);
    loaded.errors.extend(errors);
    let workspace = &mut loaded.workspace;
    workspace.dockerfiles = views;
    let asked: BTreeSet<&Utf8PathBuf> = found.dockerfiles.iter().collect();
    let others: Vec<Utf8PathBuf> = uses
        .keys()
        .filter(|path| !asked.contains(path))
        .cloned()
        .collect();
    // A Dockerfile that only a compose file names is known, not judged.
    workspace.others = reader.dockerfiles(&others, &uses).0;
    if let (Some(text), true) = (&inputs.stdin, inputs.paths.iter().any(|path| path == "-")) {
        let source = Source::new("<stdin>", text.as_str());
        let path = inputs.current.join("-");
        let view = DockerfileView::new(path, &source, inputs.build.clone());
        workspace.dockerfiles.push(view);
    }
    workspace.contexts = context::contexts(&reader, workspace, &uses, &found);
    workspace.projects = projects;
    loaded.files = names(&loaded.workspace, &found, inputs);
    loaded
}

/// Names of all that was looked at, as the user knows them, each once.
fn names(workspace: &Workspace, found: &Found, inputs: &Inputs) -> Vec<String> {
    let dockerfiles = workspace.dockerfiles.iter().map(|view| &view.source);
    let composes = workspace.projects.iter().flat_map(|view| &view.sources);
    let sources = dockerfiles.chain(composes).map(|source| source.name.to_string());
    let ignores = found.ignores.iter().map(|path| shown(path, &inputs.current));
    let mut seen = BTreeSet::new();
    sources
        .chain(ignores)
        .filter(|name| seen.insert(name.clone()))
        .collect()
}

/// A path as the user knows it.
fn shown(path: &Utf8Path, current: &Utf8Path) -> String {
    path.strip_prefix(current).unwrap_or(path).to_string()
}

/// An absolute path without `.` and `..`; links stay as they are.
fn absolute(current: &Utf8Path, path: &str) -> Utf8PathBuf {
    let mut out = Utf8PathBuf::new();
    for part in current.join(path).components() {
        match part.as_str() {
            "." => {}
            ".." => {
                out.pop();
            }
            part => out.push(part),
        }
    }
    out
}

struct Reader<'a> {
    inputs: &'a Inputs,
}

/// How compose files build a Dockerfile.
#[derive(Clone, Debug, Default)]
struct Use {
    settings: BuildSettings,
    contexts: BTreeSet<Utf8PathBuf>,
}

impl Reader<'_> {
    /// The text of a file. What is no UTF-8 is read all the same; the place of the first such byte is told.
    fn read(&self, path: &Utf8Path) -> io::Result<(Source, Option<Diagnostic>)> {
        let name = shown(path, &self.inputs.current);
        if let Some(text) = self.inputs.texts.get(path) {
            return Ok((Source::new(name, text.as_str()), None));
        }
        match String::from_utf8(fs::read(path)?) {
            Ok(text) => Ok((Source::new(name, text), None)),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let source = Source::new(name, String::from_utf8_lossy(error.as_bytes()).into_owned());
                let place = source.clamp(Span::new(at, at + 3));
                let wrong = Diagnostic::error("not-utf-8", &source, place, "this is not UTF-8");
                Ok((
                    source,
                    Some(wrong.with_help("save the file as UTF-8; builds take it byte for byte")),
                ))
            }
        }
    }

    fn dockerfiles(
        &self,
        paths: &[Utf8PathBuf],
        uses: &BTreeMap<Utf8PathBuf, Use>,
    ) -> (Vec<DockerfileView>, Vec<String>) {
        let views = parallel(paths, |path| {
            let (source, wrong) = self.read(path).map_err(|error| {
                let name = shown(path, &self.inputs.current);
                format!("cannot read `{name}`: {error}")
            })?;
            let mut view = DockerfileView::new(path, &source, self.settings(uses.get(path)));
            view.diagnostics.extend(wrong);
            Ok(view)
        });
        let (mut good, mut bad) = (Vec::with_capacity(views.len()), Vec::new());
        for view in views {
            match view {
                Ok(view) => good.push(view),
                Err(error) => bad.push(error),
            }
        }
        (good, bad)
    }

    /// How a Dockerfile is built: the command line's word, then that of compose files.
    fn settings(&self, used: Option<&Use>) -> BuildSettings {
        let mut settings = used.map(|used| used.settings.clone()).unwrap_or_default();
        let own = &self.inputs.build;
        if !own.targets.is_empty() {
            settings.targets.clone_from(&own.targets);
        }
        let args = own.args.iter();
        settings
            .args
            .extend(args.map(|(name, value)| (name.clone(), value.clone())));
        settings.platform = own.platform.clone().or(settings.platform);
        settings
    }
}

#[cfg(test)]
mod tests;
