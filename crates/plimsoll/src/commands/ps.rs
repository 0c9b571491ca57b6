//! `ps`, `container ls`

use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use jiff::Timestamp;
use plimsoll_container::{Container, HealthStatus, NetworkMode, OnFailure, Status};
use plimsoll_network::Endpoint;
use serde_json::{Value, json};

use super::containers::containers;
use super::port::{inside, ranges};
use crate::command_error::CommandError;
use crate::context::Context;
use crate::output::{rows, units};

/// List containers
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Show those that do not run, too
    #[arg(short, long)]
    all: bool,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
    /// Show what would be cut off
    #[arg(long)]
    no_trunc: bool,
    /// Show the last so many containers, running or not
    #[arg(short = 'n', long, value_name = "NUMBER")]
    last: Option<usize>,
    /// Show the container made last
    #[arg(short, long)]
    latest: bool,
    /// Show how much they have written
    #[arg(short, long)]
    size: bool,
    /// Show those that fit: `name=`, `id=`, `label=`, `status=`, `health=`, `exited=`, `ancestor=`, `volume=`, `network=`, `publish=`, `expose=`, `before=`, `since=`
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// `table`, `json`, or a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

const HEADERS: &[(&str, &str)] = &[
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("RunningFor", "CREATED"),
    ("Ports", "PORTS"),
    ("State", "STATE"),
    ("Status", "STATUS"),
    ("Size", "SIZE"),
    ("Names", "NAMES"),
    ("Labels", "LABELS"),
    ("Mounts", "MOUNTS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Networks", "NETWORKS"),
];

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let containers = containers(context)?;
    let all = containers.list()?;
    for container in &all {
        containers.revive(container)?;
    }
    let filters = args
        .filter
        .iter()
        .map(|text| Filter::parse(text, &all))
        .collect::<Result<Vec<_>, _>>()?;
    let by_state = filters
        .iter()
        .any(|filter| matches!(filter, Filter::Status(_) | Filter::Exited(_)));
    let last = if args.latest { Some(1) } else { args.last };
    let everything = args.all || by_state || last.is_some();
    let shown = all
        .iter()
        .filter(|container| everything || container.is_running())
        .filter(|container| Filter::all_pass(&filters, container))
        .take(last.unwrap_or(usize::MAX));
    let mut out = context.stdout();
    if args.quiet && args.format.is_none() {
        for container in shown {
            writeln!(
                out,
                "{}",
                if args.no_trunc {
                    container.id()
                } else {
                    container.short_id()
                }
            )?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    // Sizes of images, which stand beside what a container has written.
    let images: HashMap<String, u64> = if args.size {
        let lines = context.images()?.list()?.into_iter();
        lines.map(|line| (line.image.id.to_string(), line.size)).collect()
    } else {
        HashMap::new()
    };
    let rows: Vec<Value> = shown
        .map(|container| {
            let image = images.get(&container.definition.image_id).copied().unwrap_or(0);
            row(container, args.no_trunc, args.size.then_some(image))
        })
        .collect();
    let mut default =
        "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}".to_owned();
    if args.size {
        default.push_str("\t{{.Size}}");
    }
    rows::print(&mut out, args.format.as_deref(), &default, HEADERS, &rows)?;
    Ok(ExitCode::SUCCESS)
}

/// `image` is the size of its image, if sizes are asked for.
pub(super) fn row(container: &Container, whole: bool, image: Option<u64>) -> Value {
    let definition = &container.definition;
    let labels: Vec<_> = definition
        .labels
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let mounts: Vec<_> = definition
        .mounts
        .iter()
        .map(|mount| mount.volume.clone().unwrap_or_else(|| mount.source.to_string()))
        .map(|name| if whole { name } else { ellipsis(&name, 15) })
        .collect();
    let volumes = definition
        .mounts
        .iter()
        .filter(|mount| mount.volume.is_some())
        .count();
    json!({
        "Command": format!("{:?}", command(container, whole)),
        "CreatedAt": definition.created.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string(),
        "ID": if whole { container.id() } else { container.short_id() },
        "Image": definition.image,
        "Labels": labels.join(","),
        "LocalVolumes": volumes.to_string(),
        "Mounts": mounts.join(","),
        "Names": container.name,
        "Networks": networks(container).join(","),
        "Ports": ports(container),
        "RunningFor": units::ago(definition.created),
        "Size": image.map_or_else(|| "0B".to_owned(), |image| {
            let own = written(&definition.rootfs.upper);
            format!("{} (virtual {})", units::human_size(own), units::human_size(own + image))
        }),
        "State": container.state.status.as_str(),
        "Status": status(container, Timestamp::now()),
    })
}

/// The command line; words with blanks are quoted as Docker does.
fn command(container: &Container, whole: bool) -> String {
    let words: Vec<String> = container
        .definition
        .spec
        .args
        .iter()
        .enumerate()
        .map(|(at, word)| {
            if at > 0 && word.contains(' ') {
                format!("'{word}'")
            } else {
                word.clone()
            }
        })
        .collect();
    let text = words.join(" ");
    if whole { text } else { ellipsis(&text, 20) }
}

fn ellipsis(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    text.chars().take(limit - 1).chain(['\u{2026}']).collect()
}

/// `Up 3 seconds (healthy)`, `Exited (0) 2 minutes ago`.
/// Docker's words; of one that is restarted when it is unhealthy also how often that was: Docker has no such containers.
fn status(container: &Container, now: Timestamp) -> String {
    let health = container.definition.health.as_ref();
    let heals = health.is_some_and(|health| health.on_failure == OnFailure::Restart);
    let times = match container.state.restart_count {
        count if count == 0 || !heals => String::new(),
        1 => ", restarted once".to_owned(),
        count => format!(", restarted {count} times"),
    };
    format!("{}{times}", state_in_words(container, now))
}

fn state_in_words(container: &Container, now: Timestamp) -> String {
    let state = &container.state;
    let since = |time: Option<Timestamp>| {
        let elapsed = time
            .map(|time| now.duration_since(time))
            .and_then(|elapsed| elapsed.try_into().ok());
        units::human_duration(elapsed.unwrap_or_default())
    };
    match state.status {
        Status::Running => {
            let health = match state.health.as_ref().map(|health| health.status) {
                None => "",
                Some(HealthStatus::Starting) => " (health: starting)",
                Some(HealthStatus::Healthy) => " (healthy)",
                Some(HealthStatus::Unhealthy) => " (unhealthy)",
            };
            format!("Up {}{health}", since(state.started_at))
        }
        Status::Paused => format!("Up {} (Paused)", since(state.started_at)),
        Status::Restarting => {
            format!(
                "Restarting ({}) {} ago",
                state.exit_code,
                since(state.finished_at)
            )
        }
        Status::Exited => format!("Exited ({}) {} ago", state.exit_code, since(state.finished_at)),
        Status::Created => "Created".to_owned(),
        Status::Dead => "Dead".to_owned(),
    }
}

/// Names of the networks it is on, or would be first.
fn networks(container: &Container) -> Vec<String> {
    let mut names: Vec<String> = container
        .state
        .endpoints
        .iter()
        .map(|endpoint| endpoint.network.name.clone())
        .collect();
    names.sort();
    if names.is_empty() && !matches!(container.definition.network, NetworkMode::Container(_)) {
        names.push(container.definition.network.to_string());
    }
    names
}

fn on_network(container: &Container, wanted: &str) -> bool {
    let by_id = |endpoint: &Endpoint| !wanted.is_empty() && endpoint.network.id.starts_with(wanted);
    networks(container).iter().any(|name| name == wanted) || container.state.endpoints.iter().any(by_id)
}

/// `0.0.0.0:8080->80/tcp, 81/tcp`
fn ports(container: &Container) -> String {
    if !container.is_running() {
        return String::new();
    }
    ranges(&container.state.ports, &container.definition.exposed_ports)
}

/// Bytes below a directory.
fn written(directory: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => written(&entry.path()),
            // Blocks, not length: a sparse file takes no room.
            Ok(metadata) => metadata.len().min(metadata.blocks() * 512),
            Err(_) => 0,
        })
        .sum()
}

/// What `--filter` knows.
const KEYS: &[&str] = &[
    "id", "name", "label", "status", "health", "exited", "ancestor", "volume", "network", "publish",
    "expose", "before", "since",
];

/// One `--filter`. Those of the same key are alternatives, but labels.
enum Filter {
    Id(String),
    Name(String),
    Label(String, Option<String>),
    Status(String),
    Health(String),
    Exited(i32),
    Ancestor(String),
    Volume(String),
    Network(String),
    Publish(Ports),
    Expose(Ports),
    Before(Timestamp),
    Since(Timestamp),
}

impl Filter {
    fn parse(text: &str, all: &[Container]) -> Result<Self, CommandError> {
        let wrong = || CommandError::user(format!("invalid filter `{text}`"));
        let (key, value) = text.split_once('=').ok_or_else(wrong)?;
        let created = || {
            let same = |container: &&Container| container.name == value || container.id().starts_with(value);
            let found = all
                .iter()
                .find(same)
                .map(|container| container.definition.created);
            found.ok_or_else(|| CommandError::not_found(format!("No such container: {value}")))
        };
        let owned = value.to_owned();
        Ok(match key {
            "id" => Self::Id(owned),
            "name" => Self::Name(owned),
            "label" => match value.split_once('=') {
                Some((name, value)) => Self::Label(name.to_owned(), Some(value.to_owned())),
                None => Self::Label(owned, None),
            },
            "status" => match value {
                "created" | "running" | "exited" | "dead" | "paused" | "restarting" | "removing" => {
                    Self::Status(owned)
                }
                _ => {
                    return Err(wrong().hint(
                        "status is one of created, running, paused, restarting, removing, exited, dead",
                    ));
                }
            },
            "health" => Self::Health(owned),
            "exited" => Self::Exited(value.parse().map_err(|_| wrong())?),
            "ancestor" => Self::Ancestor(owned),
            "volume" => Self::Volume(owned),
            "network" => Self::Network(owned),
            "publish" => Self::Publish(Ports::parse(value).ok_or_else(wrong)?),
            "expose" => Self::Expose(Ports::parse(value).ok_or_else(wrong)?),
            "before" => Self::Before(created()?),
            "since" => Self::Since(created()?),
            _ => {
                let near = plimsoll_dockerfile::nearest(key, KEYS.iter().copied());
                let hint = near.map(|near| format!("did you mean `{near}`?"));
                return Err(hint.into_iter().fold(wrong(), CommandError::hint));
            }
        })
    }

    fn all_pass(filters: &[Self], container: &Container) -> bool {
        filters.iter().all(|filter| {
            let conjunction = matches!(filter, Self::Label(..));
            let same = |other: &&Self| std::mem::discriminant(*other) == std::mem::discriminant(filter);
            if conjunction {
                filter.passes(container)
            } else {
                filters.iter().filter(same).any(|other| other.passes(container))
            }
        })
    }

    fn passes(&self, container: &Container) -> bool {
        let (definition, state) = (&container.definition, &container.state);
        match self {
            Self::Id(prefix) => container.id().starts_with(prefix.as_str()),
            Self::Name(part) => named(&container.name, part),
            Self::Label(name, value) => definition
                .labels
                .get(name)
                .is_some_and(|known| value.as_ref().is_none_or(|value| value == known)),
            Self::Status(status) => state.status.as_str() == status,
            Self::Health(wanted) => {
                let health = state.health.as_ref().filter(|_| container.is_running());
                health.map_or("none", |health| health.status.as_str()) == wanted
            }
            Self::Exited(code) => state.status == Status::Exited && state.exit_code == *code,
            Self::Ancestor(image) => {
                let id = definition
                    .image_id
                    .strip_prefix("sha256:")
                    .unwrap_or(&definition.image_id);
                let same = |name: &str| {
                    super::container_options::reference(name)
                        .ok()
                        .map(|name| name.to_string())
                };
                definition.image == *image
                    || (image.len() >= 12 && id.starts_with(image.strip_prefix("sha256:").unwrap_or(image)))
                    || same(&definition.image).is_some_and(|name| Some(name) == same(image))
            }
            Self::Volume(wanted) => definition
                .mounts
                .iter()
                .any(|mount| mount.volume.as_ref() == Some(wanted) || mount.target == wanted.as_str()),
            Self::Network(wanted) => on_network(container, wanted),
            Self::Publish(wanted) => state
                .ports
                .iter()
                .any(|port| wanted.holds(port.host_port, &inside(port))),
            Self::Expose(wanted) => definition.exposed_ports.iter().any(|port| {
                let number = port.split('/').next().and_then(|number| number.parse().ok());
                number.is_some_and(|number| wanted.holds(number, port))
            }),
            Self::Before(time) => definition.created < *time,
            Self::Since(time) => definition.created > *time,
        }
    }
}

/// `8080`, `8000-8010/udp`
struct Ports {
    first: u16,
    last: u16,
    protocol: String,
}

impl Ports {
    fn parse(text: &str) -> Option<Self> {
        let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(Self {
            first: first.parse().ok()?,
            last: last.parse().ok()?,
            protocol: protocol.to_owned(),
        })
    }

    /// `port` is `80/tcp`, which says the protocol.
    fn holds(&self, number: u16, port: &str) -> bool {
        (self.first..=self.last).contains(&number) && port.split('/').nth(1) == Some(&self.protocol)
    }
}

/// Docker takes a regular expression; of those, the anchors are what scripts use.
fn named(name: &str, part: &str) -> bool {
    let part = part
        .strip_prefix("^/")
        .or_else(|| part.strip_prefix('^'))
        .map_or((part, false), |part| (part, true));
    let (text, start) = part;
    let (text, end) = text.strip_suffix('$').map_or((text, false), |text| (text, true));
    let text = text.strip_prefix('/').unwrap_or(text);
    match (start, end) {
        (true, true) => name == text,
        (true, false) => name.starts_with(text),
        (false, true) => name.ends_with(text),
        (false, false) => name.contains(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_anchors() {
        assert!(
            named("web-1", "web")
                && named("web-1", "^web")
                && named("web-1", "^/web-1$")
                && named("web-1", "-1$")
        );
        assert!(!named("web-1", "^1") && !named("web-1", "^web$"));
    }

    #[test]
    fn long_commands_are_cut() {
        assert_eq!(
            ellipsis("docker-entrypoint.sh node", 20),
            "docker-entrypoint.s\u{2026}"
        );
        assert_eq!(ellipsis("short", 20), "short");
    }
}
