//! `port`, `container port`

use std::fmt;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
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
    let mut ports = container.state.ports.clone();
    ports.sort_by_key(|port| (port.container_port, inside(port), port.host_ip));
    let mut out = context.stdout();
    let Some(text) = &args.port else {
        for port in &ports {
            writeln!(out, "{} -> {}", inside(port), outside(port))?;
        }
        return Ok(ExitCode::SUCCESS);
    };
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let Ok(number) = number.parse::<u16>() else {
        return Err(CommandError::user(format!("invalid port ({number})")));
    };
    let wanted = format!("{number}/{protocol}");
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
        "No public port '{text}' published for {}",
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
pub(super) fn outside(port: &PublishedPort) -> SocketAddr {
    SocketAddr::new(port.host_ip, port.host_port)
}

/// `0.0.0.0:8000-8002->8000-8002/tcp, 0.0.0.0:8080->80/tcp, 90-91/tcp`: as Docker, ports in a row are one range where
/// they have the same number on both sides, and those that do not come last. `exposed` are those as `80/tcp`.
pub(super) fn ranges(published: &[PublishedPort], exposed: &[String]) -> String {
    let mut ports: Vec<(u16, Option<IpAddr>, u16, String)> = published
        .iter()
        .map(|port| {
            let (_, protocol) = split(&inside(port));
            (port.container_port, Some(port.host_ip), port.host_port, protocol)
        })
        .collect();
    let is_published = |port: &&String| published.iter().any(|known| inside(known) == **port);
    ports.extend(exposed.iter().filter(|port| !is_published(port)).map(|port| {
        let (number, protocol) = split(port);
        (number, None, number, protocol)
    }));
    ports.sort_by_key(|(inside, address, outside, protocol)| {
        let address = address.map(|address| address.to_string());
        (*inside, address, *outside, protocol.clone())
    });
    // The one range of each kind that may grow.
    let mut open: Vec<Range> = Vec::new();
    let (mut shown, mut moved) = (Vec::new(), Vec::new());
    for (inside, address, outside, protocol) in ports {
        if let Some(address) = address.filter(|_| inside != outside) {
            let outside = SocketAddr::new(address, outside);
            moved.push(format!("{outside}->{inside}/{protocol}"));
            continue;
        }
        let next = Range {
            address,
            protocol,
            first: inside,
            last: inside,
        };
        match open.iter_mut().find(|range| range.is_like(&next)) {
            None => open.push(next),
            Some(range) if range.last.checked_add(1) == Some(inside) => range.last = inside,
            Some(range) => shown.push(std::mem::replace(range, next).to_string()),
        }
    }
    shown.extend(open.iter().map(Range::to_string));
    shown.extend(moved);
    shown.join(", ")
}

/// `80/tcp`
pub(super) fn split(port: &str) -> (u16, String) {
    let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    (number.parse().unwrap_or(0), protocol.to_owned())
}

/// Ports in a row that have the same number on the host, or none there.
struct Range {
    address: Option<IpAddr>,
    protocol: String,
    first: u16,
    last: u16,
}

impl Range {
    fn is_like(&self, other: &Self) -> bool {
        (self.address, &self.protocol) == (other.address, &other.protocol)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = match self.first == self.last {
            true => self.first.to_string(),
            false => format!("{}-{}", self.first, self.last),
        };
        match self.address {
            None => {}
            Some(IpAddr::V6(address)) => write!(formatter, "[{address}]:{numbers}->")?,
            Some(address) => write!(formatter, "{address}:{numbers}->")?,
        }
        write!(formatter, "{numbers}/{}", self.protocol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(address: &str, outside: u16, inside: u16, protocol: Protocol) -> PublishedPort {
        PublishedPort {
            host_ip: address.parse().unwrap(),
            host_port: outside,
            container_port: inside,
            protocol,
        }
    }

    #[test]
    fn ports_in_a_row_are_one_range() {
        let same = |port| published("127.0.0.1", port, port, Protocol::Tcp);
        let ports = [
            published("127.0.0.1", 18100, 81, Protocol::Tcp),
            same(18002),
            same(18000),
            same(18001),
            same(18004),
            published("::1", 18001, 18001, Protocol::Tcp),
            published("127.0.0.1", 18003, 18003, Protocol::Udp),
        ];
        let exposed = ["98/udp", "99/tcp", "100/tcp", "18000/tcp"].map(str::to_owned);
        assert_eq!(
            ranges(&ports, &exposed),
            "127.0.0.1:18000-18002->18000-18002/tcp, 98/udp, 99-100/tcp, 127.0.0.1:18004->18004/tcp, \
             [::1]:18001->18001/tcp, 127.0.0.1:18003->18003/udp, 127.0.0.1:18100->81/tcp"
        );
        assert_eq!(ranges(&[], &[]), "");
    }
}
