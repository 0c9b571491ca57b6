//! `compose config`

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use plimsoll_compose_file::{LoadOptions, Node, Project, Variable, escape, to_json, to_yaml, variables};
use serde_json::Value;

use super::compose::{no_such_service, project};
use crate::command_error::CommandError;
use crate::context::Context;
use crate::output::file::write_atomically;

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
    /// Print the names of the models
    #[arg(long)]
    models: bool,
    /// Print the fingerprint of these services, or of all with `*`
    #[arg(long, value_name = "SERVICES")]
    hash: Option<String>,
    /// Print the variables for `${}`; with `--format json` also where each has its value from
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
    /// Leave out what nobody said: default networks, names of networks and volumes
    #[arg(long)]
    no_normalize: bool,
    /// Leave relative paths as they are
    #[arg(long)]
    no_path_resolution: bool,
    /// Do not ask whether the parts of the project fit together
    #[arg(long)]
    no_consistency: bool,
    /// Name images by their digest
    #[arg(long)]
    resolve_image_digests: bool,
    /// Print only an override file with the digests of the images
    #[arg(long)]
    lock_image_digests: bool,
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
        return list_variables(context, args.format.as_deref());
    }
    let mut keeps_resources = false;
    let mut project = project(context, |options| {
        keeps_resources = options.all_resources;
        args.change(options);
    })?;
    let mut out = context.stdout();
    let as_json = args.format.as_deref() == Some("json");
    if let Some(path) = &args.explain {
        write!(out, "{}", explained(&project, path)?)?;
    } else if let Some(wanted) = &args.hash {
        write!(out, "{}", hashes(&project, wanted)?)?;
    } else if args.environment && as_json {
        write!(out, "{}", to_json(&Value::from(origins(&project))))?;
    } else if let Some(list) = args.list() {
        list(&project)
            .iter()
            .try_for_each(|line| writeln!(out, "{line}"))?;
    } else if !args.quiet {
        if !args.names.is_empty() {
            let wanted = with_dependencies(&project, &args.names)?;
            project.keep_services(&wanted, keeps_resources);
        }
        let text = whole(&args, &project, as_json, context).await?;
        match &args.output {
            Some(path) => write_atomically(path, |file| Ok(file.write_all(text.as_bytes())?))?,
            None => write!(out, "{text}")?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Args {
    /// What of a project is looked at.
    fn change(&self, options: &mut LoadOptions) {
        options.no_interpolate = self.no_interpolate;
        // Names stand in no file of variables, which may well be missing.
        let names_only = self.services || self.images || self.volumes || self.networks || self.profiles;
        options.no_env_resolution = self.no_env_resolution || names_only;
        options.no_normalize = self.no_normalize;
        options.no_consistency = self.no_consistency;
        options.no_path_resolution = self.no_path_resolution;
        // Names after it activate no profile, as in the reference: `--hash` has names of its own.
        if self.hash.is_none() {
            options.named.clone_from(&self.names);
        }
    }

    /// The list that is asked for.
    fn list(&self) -> Option<List> {
        let lists: [(bool, List); 7] = [
            (self.services, |project| names(project, "services")),
            (self.volumes, |project| names(project, "volumes")),
            (self.networks, |project| names(project, "networks")),
            (self.models, |project| names(project, "models")),
            (self.images, images),
            (self.profiles, Project::profiles),
            (self.environment, environment),
        ];
        let mut asked = lists.into_iter().filter(|(asked, _)| *asked);
        asked.next().map(|(_, list)| list)
    }
}

/// All of a project as text.
async fn whole(
    args: &Args,
    project: &Project,
    as_json: bool,
    context: &Context,
) -> Result<String, CommandError> {
    let digests = match args.resolve_image_digests || args.lock_image_digests {
        true => digests(project, context).await?,
        false => BTreeMap::new(),
    };
    let mut value = match as_json {
        true => project.to_json(),
        false => project.to_yaml(),
    };
    pin(&mut value, &digests, args.lock_image_digests);
    if !args.no_interpolate {
        escape(&mut value);
    }
    Ok(match as_json {
        true => to_json(&value),
        false => to_yaml(&value),
    })
}

fn names(project: &Project, section: &str) -> Vec<String> {
    project
        .section(section)
        .into_iter()
        .map(|entry| entry.key.clone())
        .collect()
}

fn images(project: &Project) -> Vec<String> {
    let services = project.section("services").into_iter();
    services.map(|service| project.image_of(service)).collect()
}

/// `SERVICE HASH` lines, as containers carry them in a label.
fn hashes(project: &Project, wanted: &str) -> Result<String, CommandError> {
    let all = names(project, "services");
    let wanted: Vec<&str> = match wanted {
        "*" => all.iter().map(String::as_str).collect(),
        wanted => wanted.split(',').collect(),
    };
    let line = |name: &str| match project.config_hash(name) {
        Some(hash) => Ok(format!("{name} {hash}\n")),
        None => match project.inactive.get(name) {
            Some(inactive) => Err(disabled(name, inactive)),
            None => Err(no_such_service(name, all.iter().map(String::as_str))),
        },
    };
    wanted.into_iter().map(line).collect()
}

/// A service that is there, but in none of the active profiles.
fn disabled(name: &str, service: &Node) -> CommandError {
    let profiles = service.get("profiles").map_or(&[][..], Node::items);
    let profile = profiles.first().and_then(Node::as_text).unwrap_or("*");
    CommandError::not_found(format!("no such service: {name}: disabled"))
        .hint(format!("activate it with `--profile {profile}`"))
}

/// The digests of images that services name without one, by service.
pub(crate) async fn digests(
    project: &Project,
    context: &Context,
) -> Result<BTreeMap<String, String>, CommandError> {
    let registry = context.registry()?;
    let mut found = BTreeMap::new();
    for service in project.section("services") {
        let Some(name) = service.value.text_of("image") else {
            continue;
        };
        let reference: plimsoll_oci::ImageRef = name.parse()?;
        if reference.digest().is_none() {
            let manifest = registry.manifest(&reference).await?;
            found.insert(service.key.clone(), format!("{reference}@{}", manifest.digest));
        }
    }
    Ok(found)
}

/// Puts digests into the images of services; `only` takes out all else.
pub(crate) fn pin(value: &mut Value, digests: &BTreeMap<String, String>, only: bool) {
    if only {
        let service =
            |(name, image): (&String, &String)| (name.clone(), serde_json::json!({ "image": image }));
        let services: serde_json::Map<String, Value> = digests.iter().map(service).collect();
        *value = serde_json::json!({ "services": services });
        return;
    }
    for (name, image) in digests {
        value["services"][name]["image"] = Value::from(image.as_str());
    }
}

/// Variables with the place each has its value from.
fn origins(project: &Project) -> Vec<Value> {
    let row = |(name, origin): (&String, &plimsoll_compose_file::Origin)| serde_json::json!({ "Name": name, "Value": origin.value, "Source": origin.from });
    project.environment.iter().map(row).collect()
}

fn environment(project: &Project) -> Vec<String> {
    let line = |(name, origin): (&String, &plimsoll_compose_file::Origin)| format!("{name}={}", origin.value);
    project.environment.iter().map(line).collect()
}

/// Services and all that they depend on.
fn with_dependencies(project: &Project, names: &[String]) -> Result<BTreeSet<String>, CommandError> {
    let services = project.section("services");
    let (mut wanted, mut open) = (BTreeSet::new(), names.to_vec());
    while let Some(name) = open.pop() {
        let Some(service) = services.iter().find(|service| service.key == name) else {
            return Err(no_such_service(
                &name,
                services.iter().map(|service| service.key.as_str()),
            ));
        };
        if wanted.insert(name) {
            let dependencies = service.value.get("depends_on").map_or(&[][..], Node::entries);
            let known = |name: &str| services.iter().any(|service| service.key == name);
            let dependencies = dependencies.iter().map(|dependency| dependency.key.clone());
            open.extend(dependencies.filter(|name| known(name)));
        }
    }
    Ok(wanted)
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

fn list_variables(context: &Context, format: Option<&str>) -> Result<ExitCode, CommandError> {
    let project = project(context, |options| {
        options.no_interpolate = true;
        options.no_env_resolution = true;
        options.profiles = vec!["*".to_owned()];
    })?;
    let mut found = Vec::new();
    collect(&project.document, &mut found);
    found.sort_by(|one, other| one.name.cmp(&other.name));
    // Of several uses each says what it knows.
    found.dedup_by(|later, kept| {
        let is_same = later.name == kept.name;
        if is_same {
            kept.required |= later.required;
            kept.default = kept.default.take().or(later.default.take());
            kept.alternative = kept.alternative.take().or(later.alternative.take());
        }
        is_same
    });
    let mut out = context.stdout();
    match format {
        None => write!(out, "{}", table_of(&found))?,
        Some("json") => {
            let keys = ["Name", "DefaultValue", "PresenceValue", "Required"];
            write!(out, "{}", to_json(&map_of(&found, keys)))?;
        }
        Some(_) => {
            let keys = ["name", "defaultvalue", "presencevalue", "required"];
            write!(out, "{}", to_yaml(&map_of(&found, keys)))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Variables by their names.
fn map_of(variables: &[Variable], keys: [&str; 4]) -> Value {
    let text = |value: &Option<String>| Value::from(value.as_deref().unwrap_or_default());
    let row = |variable: &Variable| {
        let values = [
            Value::from(variable.name.as_str()),
            text(&variable.default),
            text(&variable.alternative),
            Value::from(variable.required),
        ];
        let row = keys.iter().map(|key| (*key).to_owned()).zip(values);
        (variable.name.clone(), Value::Object(row.collect()))
    };
    Value::Object(variables.iter().map(row).collect())
}

/// Columns of at least 20 letters, three of them blanks, as the reference has them in this list.
fn table_of(variables: &[Variable]) -> String {
    let headers = ["NAME", "REQUIRED", "DEFAULT VALUE", "ALTERNATE VALUE"].map(str::to_owned);
    let mut rows = vec![headers];
    rows.extend(variables.iter().map(|variable| {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let required = variable.required.to_string();
        [
            variable.name.clone(),
            required,
            text(&variable.default),
            text(&variable.alternative),
        ]
    }));
    let width = |column: usize| {
        let widest = rows.iter().map(|row| row[column].chars().count()).max();
        (widest.unwrap_or_default() + 3).max(20)
    };
    let widths = [width(0), width(1), width(2)];
    let line = |[name, required, default, alternative]: &[String; 4]| {
        let [first, second, third] = widths;
        format!("{name:first$}{required:second$}{default:third$}{alternative}\n")
    };
    rows.iter().map(line).collect()
}

fn collect(node: &Node, found: &mut Vec<Variable>) {
    found.extend(variables(node.as_text().unwrap_or_default()));
    node.items().iter().for_each(|item| collect(item, found));
    for entry in node.entries() {
        // What stands before the `=` of a line is a key by now.
        found.extend(variables(&entry.key));
        collect(&entry.value, found);
    }
}
