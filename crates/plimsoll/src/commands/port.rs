//! `port`, `container port`

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;

use plimsoll_network::{Protocol, PublishedPort};

use super::containers::containers;
use crate::command_error::CommandError;
use crate::context::Context;

/// Show where the ports of a container are published
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Container, by name or id
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// Only this port
    #[arg(value_name = "PORT[/PROTOCOL]")]
    port: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let container = containers(context)?.get(&args.container)?;
    let ports = &container.state.ports;
    let mut out = context.stdout();
    let Some(text) = &args.port else {
        for port in ports {
            writeln!(out, "{} -> {}", inside(port), outside(port))?;
        }
        return Ok(ExitCode::SUCCESS);
    };
    let wanted = if text.contains('/') {
        text.clone()
    } else {
        format!("{text}/tcp")
    };
    let mut found = false;
    for port in ports.iter().filter(|port| inside(port) == wanted) {
        writeln!(out, "{}", outside(port))?;
        found = true;
    }
    if found {
        return Ok(ExitCode::SUCCESS);
    }
    let hint = ports.iter().map(inside).collect::<Vec<_>>().join(", ");
    let error = CommandError::not_found(format!(
        "No public port '{wanted}' published for {}",
        args.container
    ));
    Err(if hint.is_empty() {
        error
    } else {
        error.hint(format!("published: {hint}"))
    })
}

/// `80/tcp`
pub(crate) fn inside(port: &PublishedPort) -> String {
    let protocol = if port.protocol == Protocol::Tcp {
        "tcp"
    } else {
        "udp"
    };
    format!("{}/{protocol}", port.container_port)
}

/// `127.0.0.1:49153`
pub(crate) fn outside(port: &PublishedPort) -> SocketAddr {
    SocketAddr::new(port.host_ip, port.host_port)
}
