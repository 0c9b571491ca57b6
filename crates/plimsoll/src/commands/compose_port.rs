//! `compose port`

use std::io::Write as _;
use std::process::ExitCode;

use super::compose::Scope;
use super::compose::members::Which;
use super::containers::containers;
use super::port::{inside, outside};
use crate::command_error::CommandError;
use crate::context::Context;

/// Show where a port of a service is published
#[derive(clap::Args)]
pub(crate) struct Args {
    /// `tcp` or `udp`
    #[arg(long, value_name = "PROTOCOL", default_value = "tcp")]
    protocol: String,
    /// Number of the container, if the service has several
    #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
    index: u32,
    /// Service
    #[arg(value_name = "SERVICE")]
    service: String,
    /// Port in its containers
    #[arg(value_name = "PORT")]
    port: u16,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let scope = Scope::by_name(context)?;
    let member = scope.member(&containers(context)?, &args.service, args.index, Which::RUNNING)?;
    let container = &member.container;
    let wanted = format!("{}/{}", args.port, args.protocol.to_ascii_lowercase());
    let mut ports = container.state.ports.clone();
    ports.sort_by_key(|port| (port.container_port, port.host_ip));
    match ports.iter().find(|port| inside(port) == wanted) {
        Some(port) => writeln!(context.stdout(), "{}", outside(port))?,
        None => {
            let mut known: Vec<_> = ports.iter().map(inside).collect();
            known.dedup();
            let error = CommandError::not_found(format!("no port {wanted} for container {}", container.name));
            return Err(match known.is_empty() {
                true => error.hint("it publishes none"),
                false => error.hint(format!("it publishes {}", known.join(", "))),
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}
