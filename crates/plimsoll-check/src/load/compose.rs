//! Compose files to projects: which files make one, and what they build.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use plimsoll_compose_file::{LoadOptions, Node, Project, load, variables};
use plimsoll_diagnostics::{Diagnostic, Source};

use super::{Reader, Use, absolute};
use crate::engine::parallel;
use crate::view::ComposeView;

/// Names of files that make a project without being asked for, the first that is there.
const MAIN: [&str; 4] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
];
/// Words in the names of files that are not for production.
const DEVELOPMENT: [&str; 6] = ["override", "dev", "development", "local", "test", "ci"];

/// Loads every file in the company that it needs.
pub(super) fn projects(reader: &Reader<'_>, files: &[Utf8PathBuf]) -> Vec<ComposeView> {
    let groups = groups(files);
    parallel(&groups, |(path, base)| view(reader, path, base.as_deref()))
}

/// Each file, with the main file of its folder where that is another. An override file is loaded with the main file.
fn groups(files: &[Utf8PathBuf]) -> Vec<(Utf8PathBuf, Option<Utf8PathBuf>)> {
    let main = |folder: &Utf8Path| {
        MAIN.iter()
            .map(|name| folder.join(name))
            .find(|path| path.is_file())
    };
    let with_main = files.iter().map(|path| {
        let base = path.parent().and_then(main).filter(|base| base != path);
        (path.clone(), base)
    });
    with_main.collect()
}

/// A file stands alone if it can: many a `compose.prod.yaml` is whole. If it cannot, it adds to the main file.
fn view(reader: &Reader<'_>, path: &Utf8Path, base: Option<&Utf8Path>) -> ComposeView {
    let is_override = path.file_name().is_some_and(|name| name.contains(".override."));
    let (alone, with_base) = (
        [path.to_owned()],
        base.map(|base| [base.to_owned(), path.to_owned()]),
    );
    let first = match &with_base {
        Some(both) if is_override => project(reader, both),
        _ => project(reader, &alone),
    };
    let loaded = match (first, &with_base) {
        (Err(errors), Some(both)) if !is_override => project(reader, both).map_err(|_| errors),
        (first, _) => first,
    };
    let stem = path.file_stem().unwrap_or_default().to_ascii_lowercase();
    let mut view = ComposeView {
        path: path.to_owned(),
        sources: reader.read(path).into_iter().map(|(source, _)| source).collect(),
        for_development: stem
            .split(['.', '-', '_'])
            .any(|word| DEVELOPMENT.contains(&word)),
        project: None,
        diagnostics: Vec::new(),
    };
    match loaded {
        Ok(mut project) => {
            view.diagnostics = std::mem::take(&mut project.warnings);
            view.project = Some(project);
            let own: Vec<Source> = view
                .services()
                .into_iter()
                .map(|entry| entry.place.source.clone())
                .collect();
            for source in own {
                if !view.sources.contains(&source) {
                    view.sources.push(source);
                }
            }
        }
        Err(errors) => view.diagnostics = errors,
    }
    view
}

fn project(reader: &Reader<'_>, files: &[Utf8PathBuf]) -> Result<Project, Vec<Diagnostic>> {
    let inputs = reader.inputs;
    let mut environment = inputs.environment.clone();
    // Variables that must be given are given when the project is started; here anything will do that fits everywhere.
    for path in files {
        let Ok((source, _)) = reader.read(path) else {
            continue;
        };
        let required = variables(&source.text).into_iter().filter(|one| one.required);
        for variable in required {
            environment.entry(variable.name).or_insert_with(|| "1".to_owned());
        }
    }
    load(&LoadOptions {
        files: files.to_vec(),
        texts: inputs.texts.clone(),
        profiles: vec!["*".to_owned()],
        environment,
        current: inputs.current.clone(),
        // Files of variables are rarely in the repository, and what they say does not stand in the compose file.
        env_files: Some(Vec::new()),
        no_env_resolution: true,
        forgives_variables: true,
        ..LoadOptions::default()
    })
}

/// How the services of all projects build Dockerfiles.
pub(super) fn builds(projects: &[ComposeView]) -> BTreeMap<Utf8PathBuf, Use> {
    let mut uses: BTreeMap<Utf8PathBuf, Use> = BTreeMap::new();
    for service in projects.iter().flat_map(ComposeView::services) {
        let Some(build) = service.value.get("build") else {
            continue;
        };
        let Some(context) = build
            .text_of("context")
            .filter(|context| context.starts_with('/'))
        else {
            continue;
        };
        if build.get("dockerfile_inline").is_some() {
            continue;
        }
        let context = Utf8PathBuf::from(context);
        let dockerfile = build.text_of("dockerfile").unwrap_or("Dockerfile");
        let used = uses.entry(absolute(&context, dockerfile)).or_default();
        used.contexts.insert(context);
        // Without a target it is the last stage.
        used.settings
            .targets
            .push(build.text_of("target").unwrap_or_default().to_owned());
        for (name, value) in arguments(build) {
            used.settings.args.entry(name).or_insert(value);
        }
    }
    uses
}

fn arguments(build: &Node) -> Vec<(String, String)> {
    let entries = build.get("args").map_or(&[][..], Node::entries);
    let given = entries
        .iter()
        .filter_map(|entry| Some((entry.key.clone(), entry.value.as_text()?.to_owned())));
    given.collect()
}
