//! `compose config`

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use plimsoll_compose_file::{Node, Project, to_yaml, variables};
use serde_json::Value;

use super::compose::project;
use crate::command_error::CommandError;
use crate::context::Context;
use crate::output::file::write_atomically;
use crate::output::rows;

/// Show a project as it is understood: merged, interpolated, in its long form
#[derive(clap::Args)]
pub(crate) struct Args {
    /// `yaml` or `json`
    #[arg(long, value_name = "FORMAT", value_parser = ["yaml", "json"])]
    format: Option<String>,
    /// Only say what is wrong
    #[arg(short, long)]
    quiet: bool,
    /// Print the names of the services
    #[arg(long)]
    services: bool,
    /// Print the names of the volumes
    #[arg(long)]
    volumes: bool,
    /// Print the names of the networks
    #[arg(long)]
    networks: bool,
    /// Print the names of the images
    #[arg(long)]
    images: bool,
    /// Print the names of the profiles
    #[arg(long)]
    profiles: bool,
    /// Print the variables for `${}`, and where each has its value from
    #[arg(long)]
    environment: bool,
    /// Print the variables that the files name, and their defaults
    #[arg(long)]
    variables: bool,
    /// Leave `${}` as it is
    #[arg(long)]
    no_interpolate: bool,
    /// Leave files of variables where they are
    #[arg(long)]
    no_env_resolution: bool,
    /// Say where a value comes from, such as `services.web.image`
    #[arg(long, value_name = "PATH")]
    explain: Option<String>,
    /// Write to a file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Only these services
    #[arg(value_name = "SERVICE")]
    names: Vec<String>,
}

/// One of the lists that can be asked for instead of the whole.
type List = fn(&Project) -> Vec<String>;

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    if args.variables {
        return list_variables(context);
    }
    let project = project(context, |options| {
        options.no_interpolate = args.no_interpolate;
        options.no_env_resolution = args.no_env_resolution;
        options.named.clone_from(&args.names);
    })?;
    let mut out = context.stdout();
    if let Some(path) = &args.explain {
        write!(out, "{}", explained(&project, path)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let lists: [(bool, List); 6] = [
        (args.services, |project| names(project, "services")),
        (args.volumes, |project| names(project, "volumes")),
        (args.networks, |project| names(project, "networks")),
        (args.images, images),
        (args.profiles, Project::profiles),
        (args.environment, environment),
    ];
    if let Some((_, list)) = lists.iter().find(|(asked, _)| *asked) {
        for line in list(&project) {
            writeln!(out, "{line}")?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if args.quiet {
        return Ok(ExitCode::SUCCESS);
    }
    let as_json = args.format.as_deref() == Some("json");
    let mut value = if as_json { project.to_json() } else { project.to_yaml() };
    if !args.names.is_empty() {
        keep(&mut value, &args.names);
    }
    if !args.no_interpolate {
        escape(&mut value);
    }
    let text = match as_json {
        true => format!("{}\n", crate::output::json::pretty(&value)),
        false => to_yaml(&value),
    };
    match &args.output {
        Some(path) => write_atomically(path, |file| Ok(file.write_all(text.as_bytes())?))?,
        None => write!(out, "{text}")?,
    }
    Ok(ExitCode::SUCCESS)
}

fn names(project: &Project, section: &str) -> Vec<String> {
    project
        .section(section)
        .into_iter()
        .map(|entry| entry.key.clone())
        .collect()
}

/// The image of a service is the one it names, or the one it builds.
fn images(project: &Project) -> Vec<String> {
    let image = |entry: &plimsoll_compose_file::Entry| match entry.value.text_of("image") {
        Some(image) => image.to_owned(),
        None => format!("{}-{}", project.name, entry.key),
    };
    project.section("services").into_iter().map(image).collect()
}

fn environment(project: &Project) -> Vec<String> {
    let line = |(name, origin): (&String, &plimsoll_compose_file::Origin)| format!("{name}={}", origin.value);
    project.environment.iter().map(line).collect()
}

fn keep(value: &mut Value, names: &[String]) {
    if let Some(services) = value.get_mut("services").and_then(Value::as_object_mut) {
        services.retain(|name, _| names.contains(name));
    }
}

/// A dollar sign is written twice, so that what is printed can be loaded again.
fn escape(value: &mut Value) {
    match value {
        Value::String(text) if text.contains('$') => *text = text.replace('$', "$$"),
        Value::Array(items) => items.iter_mut().for_each(escape),
        Value::Object(map) => map.values_mut().for_each(escape),
        _ => {}
    }
}

/// A value and the line it was written in.
fn explained(project: &Project, path: &str) -> Result<String, CommandError> {
    let Some(node) = project.at(path) else {
        let error = CommandError::not_found(format!("the project has nothing at `{path}`"));
        return Err(error.hint("a path is written as in `services.web.ports.0.target`"));
    };
    let source = &node.place.source;
    let at = source.position(node.place.span.start);
    let value = to_yaml(&node.to_json());
    let line = source.slice(source.line_at(node.place.span.start)).trim_end();
    Ok(format!(
        "{value}\n{}:{}:{}\n    {}\n",
        source.name,
        at.line,
        at.column,
        line.trim_start()
    ))
}

const HEADERS: &[(&str, &str)] = &[
    ("Name", "NAME"),
    ("Required", "REQUIRED"),
    ("Default", "DEFAULT VALUE"),
    ("Alternative", "ALTERNATE VALUE"),
];

fn list_variables(context: &Context) -> Result<ExitCode, CommandError> {
    let project = project(context, |options| {
        options.no_interpolate = true;
        options.no_env_resolution = true;
    })?;
    let mut found = Vec::new();
    collect(&project.document, &mut found);
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found.dedup_by(|one, other| one.name == other.name);
    let row = |variable: plimsoll_compose_file::Variable| {
        serde_json::json!({
            "Name": variable.name,
            "Required": variable.required.to_string(),
            "Default": variable.default.unwrap_or_default(),
            "Alternative": variable.alternative.unwrap_or_default(),
        })
    };
    let rows: Vec<Value> = found.into_iter().map(row).collect();
    let table = "{{.Name}}\t{{.Required}}\t{{.Default}}\t{{.Alternative}}";
    rows::print(&mut context.stdout(), None, table, HEADERS, &rows)?;
    Ok(ExitCode::SUCCESS)
}

fn collect(node: &Node, found: &mut Vec<plimsoll_compose_file::Variable>) {
    found.extend(variables(node.as_text().unwrap_or_default()));
    node.items().iter().for_each(|item| collect(item, found));
    node.entries()
        .iter()
        .for_each(|entry| collect(&entry.value, found));
}
