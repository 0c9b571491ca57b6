//! `compose ps`

use std::io::Write as _;
use std::process::ExitCode;

use plimsoll_network::Protocol;
use serde_json::{Value, json};

use super::compose::Scope;
use super::compose::members::{Member, Which};
use super::containers::containers;
use super::port::{inside, split};
use super::ps;
use crate::command_error::CommandError;
use crate::context::Context;
use crate::output::rows;

/// List the containers of a project
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Show those that do not run, too, and those of `run`
    #[arg(short, long)]
    all: bool,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
    /// Print the names of the services only
    #[arg(long)]
    services: bool,
    /// Show those in this state: `paused`, `restarting`, `removing`, `running`, `dead`, `created`, `exited`
    #[arg(long = "status", value_name = "STATE")]
    states: Vec<String>,
    /// Show those that fit: `status=`
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Option<String>,
    /// `table`, `json`, or a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Show those of services that the files do not have any more
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    orphans: bool,
    /// Show what would be cut off
    #[arg(long)]
    no_trunc: bool,
    /// Services [default: all]
    #[arg(value_name = "SERVICE")]
    names: Vec<String>,
}

const TABLE: &str =
    "{{.Name}}\t{{.Image}}\t{{.Command}}\t{{.Service}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}";
const HEADERS: &[(&str, &str)] = &[
    ("ID", "CONTAINER ID"),
    ("Name", "NAME"),
    ("Names", "NAMES"),
    ("Project", "PROJECT"),
    ("Service", "SERVICE"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("RunningFor", "CREATED"),
    ("Ports", "PORTS"),
    ("Publishers", "PUBLISHERS"),
    ("State", "STATE"),
    ("Status", "STATUS"),
    ("Health", "HEALTH"),
    ("ExitCode", "EXIT CODE"),
    ("Size", "SIZE"),
    ("Labels", "LABELS"),
    ("Mounts", "MOUNTS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Networks", "NETWORKS"),
];

const STATES: [&str; 7] = [
    "paused",
    "restarting",
    "removing",
    "running",
    "dead",
    "created",
    "exited",
];

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let states = states(&args)?;
    let scope = Scope::with_services(context, &args.names)?;
    let which = Which {
        stopped: args.all || !states.is_empty(),
        one_off: args.all,
    };
    let mut members = scope.members(&containers(context)?, &args.names, which)?;
    if !args.orphans
        && let Some(known) = scope.services()
    {
        members.retain(|member| known.contains(&member.service.as_str()));
    }
    members.retain(|member| states.is_empty() || states.contains(&member.container.state.status.as_str()));
    let mut out = context.stdout();
    if args.quiet {
        for member in &members {
            writeln!(out, "{}", member.container.id())?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if args.services {
        let mut names: Vec<&str> = members.iter().map(|member| member.service.as_str()).collect();
        names.dedup();
        for name in names {
            writeln!(out, "{name}")?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<Value> = members
        .iter()
        .map(|member| row(member, &scope.name, args.no_trunc))
        .collect();
    rows::print(&mut out, args.format.as_deref(), TABLE, HEADERS, &rows)?;
    Ok(ExitCode::SUCCESS)
}

/// The states that are asked for, by either flag.
fn states(args: &Args) -> Result<Vec<&str>, CommandError> {
    let mut states: Vec<&str> = args.states.iter().map(String::as_str).collect();
    if let Some(filter) = &args.filter {
        let (key, value) = filter
            .split_once('=')
            .ok_or_else(|| CommandError::user("arguments to --filter should be in form KEY=VAL"))?;
        match key {
            "status" => states.push(value),
            "source" => return Err(CommandError::user("filtering by source is not implemented")),
            _ => {
                return Err(
                    CommandError::user(format!("unknown filter {key}")).hint("the one there is: `status=`")
                );
            }
        }
    }
    match states.iter().find(|state| !STATES.contains(state)) {
        None => Ok(states),
        Some(state) => Err(CommandError::user(format!("unknown status `{state}`"))
            .hint(format!("one of {}", STATES.join(", ")))),
    }
}

fn row(member: &Member, project: &str, whole: bool) -> Value {
    let container = &member.container;
    let state = &container.state;
    let mut row = ps::row(container, whole, None);
    let health = state.health.as_ref().filter(|_| container.is_running());
    row["ExitCode"] = state.exit_code.into();
    row["Health"] = health.map_or("", |health| health.status.as_str()).into();
    row["Name"] = container.name.as_str().into();
    row["Project"] = project.into();
    row["Publishers"] = publishers(member);
    row["Service"] = member.service.as_str().into();
    if let Some(fields) = row.as_object_mut() {
        fields.sort_keys();
    }
    row
}

/// Published ports, and those that are only exposed with nothing on the host.
fn publishers(member: &Member) -> Value {
    let container = &member.container;
    if !container.is_running() {
        return json!([]);
    }
    let published = &container.state.ports;
    let mut ports: Vec<(u16, String, u16, String)> = published
        .iter()
        .map(|port| {
            let protocol = if port.protocol == Protocol::Tcp {
                "tcp"
            } else {
                "udp"
            };
            let address = port.host_ip.to_string();
            (port.container_port, address, port.host_port, protocol.to_owned())
        })
        .collect();
    let is_published = |port: &&String| published.iter().any(|known| inside(known) == **port);
    let exposed = container.definition.exposed_ports.iter();
    ports.extend(exposed.filter(|port| !is_published(port)).map(|port| {
        let (number, protocol) = split(port);
        (number, String::new(), 0, protocol)
    }));
    ports.sort();
    let ports = ports.into_iter().map(|(target, address, outside, protocol)| {
        json!({ "URL": address, "TargetPort": target, "PublishedPort": outside, "Protocol": protocol })
    });
    ports.collect()
}
