//! `network create`

use std::io::Write as _;
use std::net::IpAddr;
use std::process::ExitCode;

use plimsoll_network::{NetworkRequest, Networks, Subnet};

use super::network_options::pairs;
use crate::command_error::CommandError;
use crate::context::Context;

/// Make a network
///
/// Containers on it find each other by name. Without `--subnet` it gets one that nothing on this host uses.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to call it
    #[arg(value_name = "NETWORK")]
    name: String,
    /// Kind of network; `bridge` is the only one that can be made
    #[arg(short, long, value_name = "DRIVER", default_value = "bridge")]
    driver: String,
    /// Its addresses, such as 10.1.0.0/24; once more for IPv6
    #[arg(long, value_name = "SUBNET", value_delimiter = ',')]
    subnet: Vec<Subnet>,
    /// Address of the host on it
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    gateway: Vec<IpAddr>,
    /// Part of the subnet that containers get their addresses from
    #[arg(long, value_name = "SUBNET", value_delimiter = ',')]
    ip_range: Vec<Subnet>,
    /// Keep an address for something else
    #[arg(long, value_name = "NAME=ADDRESS")]
    aux_address: Vec<String>,
    /// Give containers IPv6 addresses, too
    #[arg(long, default_missing_value = "true", num_args = 0..=1, require_equals = true, default_value_t = false, action = clap::ArgAction::Set)]
    ipv6: bool,
    /// Give containers IPv4 addresses; `--ipv4=false --ipv6` is IPv6 alone
    #[arg(long, default_missing_value = "true", num_args = 0..=1, require_equals = true, default_value_t = true, action = clap::ArgAction::Set)]
    ipv4: bool,
    /// Give it no way out
    #[arg(long)]
    internal: bool,
    /// Accepted for Docker's sake: containers may always be connected
    #[arg(long)]
    attachable: bool,
    /// Set a label
    #[arg(long, value_name = "NAME[=VALUE]")]
    label: Vec<String>,
    /// Set an option, such as `com.docker.network.driver.mtu=1400`
    #[arg(short, long, value_name = "KEY=VALUE")]
    opt: Vec<String>,
    /// Accepted for Docker's sake; `default` is the only one
    #[arg(long, value_name = "DRIVER", default_value = "default", hide = true)]
    ipam_driver: String,
    /// Accepted for Docker's sake: the driver has no options
    #[arg(long, value_name = "KEY=VALUE", hide = true)]
    ipam_opt: Vec<String>,
    /// Accepted for Docker's sake; `local` is the only one
    #[arg(long, value_name = "SCOPE", hide = true)]
    scope: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    args.check()?;
    let mut reserved = std::collections::BTreeMap::new();
    for (name, address) in pairs("aux-address", &args.aux_address)? {
        let address = address
            .parse()
            .map_err(|_| CommandError::usage(format!("invalid aux-address `{name}={address}`")))?;
        reserved.insert(name, address);
    }
    let request = NetworkRequest {
        name: args.name,
        driver: args.driver,
        subnets: args.subnet,
        gateways: args.gateway,
        ranges: args.ip_range,
        reserved,
        ipv6: args.ipv6,
        no_ipv4: !args.ipv4,
        internal: args.internal,
        attachable: args.attachable,
        labels: pairs("label", &args.label)?,
        options: pairs("option", &args.opt)?,
    };
    if !args.ipam_opt.is_empty() {
        context.warn("--ipam-opt has no effect: the ipam driver has no options");
    }
    let store = context.store()?;
    let network = Networks::new(store).create(&request)?;
    super::network_ls::event(store, "create", &network.id, &network.name);
    writeln!(context.stdout(), "{}", network.id)?;
    Ok(ExitCode::SUCCESS)
}

impl Args {
    fn check(&self) -> Result<(), CommandError> {
        if self.ipam_driver != "default" {
            return Err(CommandError::usage(format!(
                "invalid ipam driver: {}",
                self.ipam_driver
            )));
        }
        match self.scope.as_deref() {
            None | Some("local") => Ok(()),
            Some(scope) => Err(CommandError::usage(format!(
                "scope `{scope}` is not supported: there is only `local`"
            ))),
        }
    }
}
