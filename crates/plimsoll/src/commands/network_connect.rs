//! `network connect`

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::ExitCode;

use plimsoll_network::AttachOptions;

use super::containers::containers;
use super::network_options::pairs;
use crate::command_error::CommandError;
use crate::context::Context;

/// Connect a container to a network
///
/// One that runs is connected at once: it gets another device, and names of that network are answered.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Another name for the container on this network
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    alias: Vec<String>,
    /// IPv4 address
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<Ipv4Addr>,
    /// IPv6 address
    #[arg(long, value_name = "ADDRESS")]
    ip6: Option<Ipv6Addr>,
    /// Of all networks of the container, the one with the highest leads to everywhere else
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    gw_priority: i32,
    /// Set an option of the driver
    #[arg(long, value_name = "KEY=VALUE")]
    driver_opt: Vec<String>,
    /// Add an address that only its own link knows
    #[arg(long, value_name = "ADDRESS")]
    link_local_ip: Vec<IpAddr>,
    /// Network, by name or id
    #[arg(value_name = "NETWORK")]
    network: String,
    /// Container, by name or id
    #[arg(value_name = "CONTAINER")]
    container: String,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    let containers = containers(context)?;
    let container = containers.get(&args.container)?;
    let options = AttachOptions {
        aliases: args.alias,
        address: args.ip,
        address6: args.ip6,
        link_local: args.link_local_ip,
        gateway_priority: args.gw_priority,
        driver_options: pairs("driver option", &args.driver_opt)?,
        ..AttachOptions::default()
    };
    containers.connect(&container, &args.network, &options).await?;
    Ok(ExitCode::SUCCESS)
}
