//! From files to one document: read, interpolate, check, extend, merge, include.

pub(crate) mod encoding;
mod extends;
mod find;
mod include;

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use plimsoll_diagnostics::{Diagnostic, Source, Span};

use crate::dotenv;
use crate::interpolate::{interpolate, needs_interpolation};
use crate::merge::{merge, settle, unique};
use crate::node::{Mark, Node, Scalar, Value};
use crate::project::Project;
use crate::schema::{Kind, PROJECT};
use crate::shape::{Base, absolute, has_errors, is_remote, shape};
use crate::{check, yaml};

use encoding::text_of;
pub use find::{file_in, find_files, passed_over};

/// What is to be loaded, and with what: plain data, nothing is asked of the environment.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// The files, in the order in which they are merged; `-` is `stdin`.
    pub files: Vec<Utf8PathBuf>,
    /// Text for the file `-`.
    pub stdin: Option<String>,
    /// Texts that stand for files, by absolute path: what an editor holds, or what a fix would write.
    pub texts: BTreeMap<Utf8PathBuf, String>,
    /// Where relative paths of all files start; else the folder of the first file.
    pub project_directory: Option<Utf8PathBuf>,
    /// `-p`.
    pub name: Option<String>,
    /// `--profile`; `*` is all of them.
    pub profiles: Vec<String>,
    /// Services that are named on the command line: their profiles count as active.
    pub named: Vec<String>,
    /// `--env-file`; none is `.env` in the project's folder, where there is one.
    pub env_files: Option<Vec<Utf8PathBuf>>,
    /// The files were looked for from the current folder: a `.env` there counts as well.
    pub looked_for: bool,
    /// The caller's environment.
    pub environment: BTreeMap<String, String>,
    /// The folder that the files are named from, absolute.
    pub current: Utf8PathBuf,
    /// Leaves `${}` as it is.
    pub no_interpolate: bool,
    /// Leaves `environment` and `env_file` apart.
    pub no_env_resolution: bool,
    /// Leaves out what nobody said: default networks, names of resources, implied dependencies.
    pub no_normalize: bool,
    /// Does not ask whether the parts fit together.
    pub no_consistency: bool,
    /// Leaves relative paths as they are.
    pub no_path_resolution: bool,
    /// Does not say what is wrong with values that have variables in them: who only looks at a file does not know those.
    pub forgives_variables: bool,
    /// Keeps networks, volumes, secrets and configs that no service uses.
    pub all_resources: bool,
}

/// What is wrong, all of it; there is at least one error.
pub type Failed = Vec<Diagnostic>;

/// Brings a compose file from elsewhere, and says where it is now; else why not.
pub type Fetch<'a> = dyn Fn(&str) -> Result<Utf8PathBuf, String> + 'a;

/// Loads a project from files of this machine.
pub fn load(options: &LoadOptions) -> Result<Project, Failed> {
    let nothing = |_: &str| Err("files from elsewhere are not fetched here".to_owned());
    load_with(options, &nothing)
}

/// Loads a project whose files, what they include and what they extend may be elsewhere: `oci://...`, a git URL.
pub fn load_with(options: &LoadOptions, fetch: &Fetch<'_>) -> Result<Project, Failed> {
    let mut found = Vec::new();
    let mut options = options.clone();
    for file in &mut options.files {
        if is_remote(file.as_str()) {
            match fetch(file.as_str()) {
                Ok(path) => *file = path,
                Err(why) => found.push(unplaced(format!("cannot fetch `{file}`: {why}"))),
            }
        }
    }
    if has_errors(&found) {
        return Err(found);
    }
    let options = &options;
    let loaded = Loader::new(options, fetch, &mut found).and_then(|mut loader| loader.load(options));
    match loaded {
        Some(_) | None if has_errors(&found) => Err(found),
        Some(mut project) => {
            project.warnings = found;
            Ok(project)
        }
        None => unreachable!("what cannot be loaded has said why"),
    }
}

/// Where a value of a variable comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The value.
    pub value: String,
    /// `environment`, or the file.
    pub from: String,
}

/// Loads one model: the project, or an entry of `include`.
struct Loader<'a> {
    folder: Utf8PathBuf,
    environment: BTreeMap<String, Origin>,
    home: Option<String>,
    current: Utf8PathBuf,
    interpolates: bool,
    texts: BTreeMap<Utf8PathBuf, String>,
    keeps_paths: bool,
    forgives: bool,
    /// The file in work, and those that led to it.
    stack: Vec<Utf8PathBuf>,
    /// Documents read for `extends`, by path and service.
    others: BTreeMap<(Utf8PathBuf, String), Node>,
    /// Services with all that they stand on, by file, folder of its paths, and name.
    extended: BTreeMap<(Utf8PathBuf, Utf8PathBuf, String), Node>,
    /// The service that the file in work is read for, if one extends it.
    only: Option<String>,
    /// Variables that were said to be unset.
    missed: BTreeSet<String>,
    fetch: &'a Fetch<'a>,
    found: &'a mut Vec<Diagnostic>,
}

impl<'a> Loader<'a> {
    /// `None` says that something was found.
    fn new(options: &LoadOptions, fetch: &'a Fetch<'a>, found: &'a mut Vec<Diagnostic>) -> Option<Self> {
        let first = options.files.first().map(|file| options.current.join(file));
        let folder = match (&options.project_directory, first) {
            (Some(folder), _) => options.current.join(folder),
            (None, Some(file)) if file.file_name() != Some("-") => file.parent().map(Utf8Path::to_owned)?,
            (None, _) => options.current.clone(),
        };
        let folder = Utf8PathBuf::from(absolute(
            &Base {
                folder: &folder,
                home: None,
                keeps_paths: false,
                keeps_variables: false,
                forgives: false,
            },
            ".",
        ));
        let mut loader = Self {
            environment: BTreeMap::new(),
            home: options.environment.get("HOME").cloned(),
            current: options.current.clone(),
            interpolates: !options.no_interpolate,
            texts: options.texts.clone(),
            keeps_paths: options.no_path_resolution,
            forgives: options.forgives_variables,
            stack: Vec::new(),
            others: BTreeMap::new(),
            extended: BTreeMap::new(),
            only: None,
            missed: BTreeSet::new(),
            folder,
            fetch,
            found,
        };
        loader.take_environment(options)?;
        Some(loader)
    }

    /// The shell's variables win over those of files.
    fn take_environment(&mut self, options: &LoadOptions) -> Option<()> {
        for (name, value) in &options.environment {
            let origin = Origin {
                value: value.clone(),
                from: "environment".to_owned(),
            };
            self.environment.insert(name.clone(), origin);
        }
        let files: Vec<(Utf8PathBuf, bool)> = match &options.env_files {
            Some(files) => files
                .iter()
                .map(|file| (options.current.join(file), true))
                .collect(),
            // Of the folder that the caller is in, where the file was looked for from, then of the project's.
            None => {
                let mut folders = vec![&self.folder];
                if options.looked_for && options.current != self.folder {
                    folders.insert(0, &options.current);
                }
                let path = |folder: &Utf8PathBuf| (folder.join(".env"), false);
                folders.into_iter().map(path).collect()
            }
        };
        let first_wins = options.env_files.is_none();
        let mut of_files: BTreeMap<String, Origin> = BTreeMap::new();
        for (file, required) in files {
            if !required && !file.is_file() {
                continue;
            }
            let source = self.read(&file)?;
            let lookup = |name: &str| self.environment.get(name).map(|origin| origin.value.clone());
            let earlier = of_files
                .iter()
                .map(|(name, origin)| (name.clone(), Some(origin.value.clone())))
                .collect();
            match dotenv::parse_after(&source, false, &lookup, earlier) {
                Ok(variables) => {
                    self.found.extend(variables.warnings);
                    for variable in variables.list {
                        let value = variable
                            .value
                            .or_else(|| options.environment.get(&variable.name).cloned());
                        let from = file.to_string();
                        let Some(value) = value else { continue };
                        // Within one file the last one wins.
                        let known = of_files.get(&variable.name);
                        if !first_wins || known.is_none_or(|known| known.from == from) {
                            of_files.insert(variable.name, Origin { value, from });
                        }
                    }
                }
                Err(error) => {
                    self.found.push(*error);
                    return None;
                }
            }
        }
        for (name, origin) in of_files {
            self.environment.entry(name).or_insert(origin);
        }
        Some(())
    }

    fn load(&mut self, options: &LoadOptions) -> Option<Project> {
        let mut texts = Vec::new();
        for file in &options.files {
            texts.push(match (file.as_str(), &options.stdin) {
                ("-", Some(text)) => (self.current.join("-"), Source::new("<stdin>", text.as_str())),
                _ => {
                    let path = self.current.join(file);
                    let source = self.read(&path)?;
                    (path, source)
                }
            });
        }
        let name = self.name(options, &texts)?;
        let origin = Origin {
            value: name.clone(),
            from: "project name".to_owned(),
        };
        self.environment.insert("COMPOSE_PROJECT_NAME".to_owned(), origin);
        let mut document = self.model(&texts)?;
        settle(&mut document);
        let mut document = unique(document, Kind::Object(PROJECT), self.found);
        if document.get("services").is_none_or(Node::is_null) {
            let place = document.place.clone();
            document.set("services", Node::map(&place));
        }
        let project = Project {
            name,
            folder: self.folder.clone(),
            files: texts.into_iter().map(|(path, _)| path).collect(),
            environment: std::mem::take(&mut self.environment),
            document,
            inactive: BTreeMap::new(),
            warnings: Vec::new(),
        };
        check::finish(project, options, self.found)
    }

    /// Merges the files of one model, and what they include.
    fn model(&mut self, texts: &[(Utf8PathBuf, Source)]) -> Option<Node> {
        let mut merged: Option<Node> = None;
        for (path, source) in texts {
            let document = self.document(path, source)?;
            merged = Some(match merged {
                None => document,
                Some(earlier) => merge(earlier, document, Kind::Object(PROJECT), self.found),
            });
        }
        let mut merged = merged?;
        self.default_contexts(&mut merged);
        let depth = self.stack.len();
        self.stack.extend(texts.iter().map(|(path, _)| path.clone()));
        let whole = self.include(merged);
        self.stack.truncate(depth);
        whole
    }

    /// A build that names no folder has the project's: known when all files are merged.
    fn default_contexts(&self, document: &mut Node) {
        let base = Base {
            folder: &self.folder,
            home: self.home.as_deref(),
            keeps_paths: self.keeps_paths,
            keeps_variables: !self.interpolates,
            forgives: self.forgives,
        };
        let services = document.get_mut("services").and_then(Node::entries_mut);
        for service in services.into_iter().flatten() {
            let Some(build) = service.value.get_mut("build") else {
                continue;
            };
            if matches!(build.value, Value::Map(_)) && build.get("context").is_none_or(Node::is_null) {
                let place = build.place.clone();
                build.set("context", Node::text(absolute(&base, "."), &place));
            }
        }
    }

    /// One file, with what its services extend.
    fn document(&mut self, path: &Utf8Path, source: &Source) -> Option<Node> {
        let shaped = self.shaped(source, &self.folder.clone())?;
        self.stack.push(path.to_owned());
        let extended = self.extend(shaped);
        self.stack.pop();
        extended
    }

    /// One text: parsed, interpolated, checked.
    fn shaped(&mut self, source: &Source, folder: &Utf8Path) -> Option<Node> {
        let documents = match yaml::documents(source) {
            Ok(documents) => documents,
            Err(error) => {
                self.found.push(*error);
                return None;
            }
        };
        let mut whole: Option<Node> = None;
        for document in documents.into_iter().filter(|document| !document.is_null()) {
            let document = self.shaped_document(document, folder)?;
            whole = Some(match whole {
                None => document,
                Some(earlier) => merge(earlier, document, Kind::Object(PROJECT), self.found),
            });
        }
        if whole.is_none() {
            let error = Diagnostic::error("compose-empty", source, Span::default(), "the file is empty");
            self.found
                .push(error.with_help("a compose file has at least `services:`"));
        }
        whole
    }

    /// One document of a text.
    fn shaped_document(&mut self, mut node: Node, folder: &Utf8Path) -> Option<Node> {
        self.prune(&mut node);
        if self.interpolates {
            self.interpolate(&mut node);
        }
        let base = Base {
            folder,
            home: self.home.as_deref(),
            keeps_paths: self.keeps_paths,
            keeps_variables: !self.interpolates,
            forgives: self.forgives,
        };
        let before = self.found.len();
        let mut shaped = shape(node, PROJECT, &base, self.found);
        if let Some(version) = shaped.entry("version") {
            let place = version.place.clone();
            shaped.take("version");
            self.found.push(place.warning(
                "compose-version",
                "`version` is obsolete and has no effect: take it out",
            ));
        }
        (!has_errors(&self.found[before..])).then_some(shaped)
    }

    /// Puts variables into every value; what was changed is a text whatever it looks like.
    fn interpolate(&mut self, node: &mut Node) {
        match &mut node.value {
            Value::Map(entries) => entries
                .iter_mut()
                .for_each(|entry| self.interpolate(&mut entry.value)),
            Value::List(items) => items.iter_mut().for_each(|item| self.interpolate(item)),
            Value::Scalar(scalar) if needs_interpolation(&scalar.text) => {
                let lookup = |name: &str| self.environment.get(name).map(|origin| origin.value.clone());
                match interpolate(&scalar.text, &lookup) {
                    Ok(done) => {
                        let missed = &mut self.missed;
                        let unset = done.unset.into_iter().filter(|name| missed.insert(name.clone()));
                        let unset = unset.map(|name| {
                            let message = format!("the variable `{name}` is not set: it counts as empty");
                            let help =
                                format!("set it, also in `.env`, or give it a default: `${{{name}:-}}`");
                            node.place.warning("unset-variable", message).with_help(help)
                        });
                        self.found.extend(unset);
                        *scalar = Scalar {
                            text: done.text,
                            plain: false,
                        };
                    }
                    Err(error) => self.found.push(
                        node.place
                            .error("interpolation", error.to_string())
                            .with_help(error.help()),
                    ),
                }
            }
            Value::Scalar(_) => {}
        }
    }

    /// `-p`, `COMPOSE_PROJECT_NAME`, `name:` of the last file that has it, the folder's name.
    fn name(&mut self, options: &LoadOptions, texts: &[(Utf8PathBuf, Source)]) -> Option<String> {
        let given = options.name.clone().filter(|name| !name.is_empty());
        let of_environment = self
            .environment
            .get("COMPOSE_PROJECT_NAME")
            .map(|origin| origin.value.clone());
        if let Some(name) = given.or(of_environment.filter(|name| !name.is_empty())) {
            return self.checked_name(name);
        }
        for (_, source) in texts.iter().rev() {
            // What is wrong with a file is said when all of it is read.
            let Ok(documents) = yaml::documents(source) else {
                continue;
            };
            let mut names = documents
                .into_iter()
                .rev()
                .filter_map(|mut node| node.take("name"));
            let Some(mut name) = names.find(|name| !name.is_null() || name.mark.is_some()) else {
                continue;
            };
            // `!reset` leaves the name of the folder.
            if name.mark == Some(Mark::Reset) {
                break;
            }
            if name.as_text() == Some("") {
                continue;
            }
            let before = (self.found.len(), self.missed.clone());
            self.interpolate(&mut name);
            self.found.truncate(before.0);
            self.missed = before.1;
            let text = normal_name(name.as_text().unwrap_or_default());
            if text.is_empty() {
                let error = name
                    .place
                    .error("compose-name", "the project name comes to nothing");
                let help = "it needs a letter or digit; give it a default: `${NAME:-default}`";
                self.found.push(error.with_help(help));
                return None;
            }
            return Some(text);
        }
        let name = normal_name(self.folder.file_name().unwrap_or_default());
        if name.is_empty() {
            let error = unplaced(format!(
                "no project name can be made of the folder `{}`",
                self.folder
            ));
            self.found
                .push(error.with_help("give one with `-p NAME`, or `name:` in the file"));
            return None;
        }
        Some(name)
    }

    fn checked_name(&mut self, name: String) -> Option<String> {
        if !name.is_empty() && normal_name(&name) == name {
            return Some(name);
        }
        let error = unplaced(format!(
            "invalid project name `{name}`: it has lower case letters, digits, `_` and `-`, and begins with a letter or digit"
        ));
        self.found.push(match normal_name(&name) {
            near if near.is_empty() => error.with_help("give another one with `-p NAME`"),
            near => error.with_help(format!("did you mean `{near}`?")),
        });
        None
    }

    /// Where a file is that another one names, below `folder` or elsewhere.
    fn located(&mut self, folder: &Utf8Path, name: &str, place: &crate::Place) -> Option<Utf8PathBuf> {
        if !is_remote(name) {
            return Some(folder.join(name));
        }
        match (self.fetch)(name) {
            Ok(path) => Some(path),
            Err(why) => {
                let message = format!("cannot fetch `{name}`: {why}");
                self.found.push(place.error("compose-fetch", message));
                None
            }
        }
    }

    /// The text of a file, under the name that the user knows it by.
    fn read(&mut self, path: &Utf8Path) -> Option<Source> {
        let shown = path.strip_prefix(&self.current).unwrap_or(path);
        let text = match self.texts.get(path) {
            Some(text) => Ok(text.clone()),
            None => text_of(path),
        };
        match text {
            Ok(text) => Some(Source::new(shown.as_str(), text)),
            Err((why, help)) => {
                let error = unplaced(format!("cannot read `{shown}`: {why}"));
                self.found.push(match help {
                    Some(help) => error.with_help(help),
                    None => error,
                });
                None
            }
        }
    }
}

/// A text as the name of a project: in lower case, without what names cannot have.
fn normal_name(text: &str) -> String {
    let kept = text
        .to_lowercase()
        .chars()
        .filter(|letter| letter.is_ascii_alphanumeric() || "_-".contains(*letter))
        .collect::<String>();
    kept.trim_start_matches(['_', '-']).to_owned()
}

/// An error that is about no place in a text.
fn unplaced(message: impl Into<String>) -> Diagnostic {
    let mut error = Diagnostic::error("compose", &Source::new("", ""), Span::default(), message);
    error.labels.clear();
    error
}
