//! `-p`: Docker's grammar for published ports.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// `tcp`, the default.
    Tcp,
    /// `udp`.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// One port asked for by `-p [IP:][HOST]:PORT[/proto]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRequest {
    /// The host address to listen on; all of them when absent.
    pub host_ip: Option<IpAddr>,
    /// The port on the host; 0 means any free one.
    pub host_port: u16,
    /// Where any free one of a range is meant, the last of it.
    #[serde(default)]
    pub last_host_port: Option<u16>,
    /// The port inside the container.
    pub container_port: u16,
    /// The transport protocol.
    pub protocol: Protocol,
}

impl PortRequest {
    /// The same request for the very port that it was given `last`; none where it leaves no choice, or was given another.
    pub fn again(&self, last: &PublishedPort) -> Option<Self> {
        let is_open = self.host_port == 0 || self.last_host_port.is_some();
        let is_of = self.container_port == last.container_port
            && self.protocol == last.protocol
            && self
                .host_ip
                .map_or(last.host_ip.is_unspecified(), |host| host == last.host_ip);
        (is_open && is_of).then(|| Self {
            host_port: last.host_port,
            last_host_port: None,
            ..self.clone()
        })
    }

    /// Whether it asks for one port of the host and no other.
    pub fn is_fixed(&self) -> bool {
        self.host_port != 0 && self.last_host_port.is_none()
    }

    /// What a port that somebody else holds on the host is when it is held for this request, leading where that one leads;
    /// none where another one is asked for, or any.
    pub fn inherited(&self, held: &PublishedPort) -> Option<PublishedPort> {
        let is_same = self.is_fixed()
            && self.host_port == held.host_port
            && self.protocol == held.protocol
            && self
                .host_ip
                .map_or(held.host_ip.is_unspecified(), |host| host == held.host_ip);
        is_same.then(|| PublishedPort {
            container_port: self.container_port,
            ..held.clone()
        })
    }
}

impl PortRequest {
    /// Whether what somebody else holds on the host is in the way of this: the same port where one of both has all addresses.
    pub fn collides(&self, held: &PublishedPort) -> bool {
        let meets = |host: IpAddr| {
            let is_any = host.is_unspecified() || held.host_ip.is_unspecified();
            host == held.host_ip || is_any && host.is_ipv4() == held.host_ip.is_ipv4()
        };
        self.is_fixed()
            && self.host_port == held.host_port
            && self.protocol == held.protocol
            && self.host_ip.is_none_or(meets)
    }
}

/// A port that is held on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPort {
    /// The host address; unspecified means all of them.
    pub host_ip: IpAddr,
    /// The port on the host, never 0.
    pub host_port: u16,
    /// The port inside the container.
    pub container_port: u16,
    /// The transport protocol.
    pub protocol: Protocol,
}

impl PortRequest {
    /// Parses one value of `-p`; a range asks for several ports.
    ///
    /// | text | meaning |
    /// | --- | --- |
    /// | `80` | container port 80, any host port |
    /// | `8080:80`, `8080:80/udp` | on every address of the host |
    /// | `127.0.0.1:8080:80` | on one address |
    /// | `127.0.0.1::80` | on one address, any host port |
    /// | `[::1]:8080:80` | IPv6 stands in brackets |
    /// | `8000-8002:80-82` | three ports |
    /// | `8000-8010:80` | the first free one of them |
    ///
    /// ```
    /// # use plimsoll_network::PortRequest;
    /// let ports = PortRequest::parse("127.0.0.1:8000-8001:80-81")?;
    /// assert_eq!((ports[1].host_port, ports[1].container_port), (8001, 81));
    /// assert!(PortRequest::parse("eighty").is_err());
    /// # Ok::<(), String>(())
    /// ```
    pub fn parse(text: &str) -> Result<Vec<Self>, String> {
        let (address, protocol) = match text.rsplit_once('/') {
            Some((address, protocol)) => (address, parse_protocol(text, protocol)?),
            None => (text, Protocol::Tcp),
        };
        let (host_ip, ports) = split_address(text, address)?;
        let (host, container) = match ports.split_once(':') {
            Some((host, container)) => (host, container),
            None => ("", ports),
        };
        if container.is_empty() {
            return Err(format!("no port specified: `{text}`"));
        }
        let container = parse_range(text, "container port", container)?;
        let host = match host {
            "" => None,
            host => Some(parse_range(text, "host port", host)?),
        };
        pair(text, host, container)?
            .map(
                |(host_port, last_host_port, container_port)| match container_port {
                    0 => Err(format!("invalid container port `0` in `{text}`")),
                    _ => Ok(Self {
                        host_ip,
                        host_port,
                        last_host_port,
                        container_port,
                        protocol,
                    }),
                },
            )
            .collect()
    }

    /// The address that is bound first: IPv4, unless an IPv6 one was asked for.
    pub(crate) fn first_address(&self) -> SocketAddr {
        SocketAddr::new(
            self.host_ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            self.host_port,
        )
    }
}

fn parse_protocol(text: &str, protocol: &str) -> Result<Protocol, String> {
    match protocol.to_ascii_lowercase().as_str() {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        "sctp" => Err(format!(
            "protocol `sctp` in `{text}` is not supported: use tcp or udp"
        )),
        _ => Err(format!(
            "invalid protocol `{protocol}` in `{text}`: use tcp or udp"
        )),
    }
}

/// Cuts a leading host address off: `[v6]:rest`, or `v4:rest` where two colons follow each other in the text.
fn split_address<'a>(text: &str, address: &'a str) -> Result<(Option<IpAddr>, &'a str), String> {
    let invalid = |ip: &str| format!("invalid IP address `{ip}` in `{text}`");
    if let Some(rest) = address.strip_prefix('[') {
        let (ip, ports) = rest
            .split_once("]:")
            .ok_or_else(|| format!("`]:` is missing in `{text}`"))?;
        let ip = ip.parse().map_err(|_| invalid(ip))?;
        return Ok((Some(IpAddr::V6(ip)), ports));
    }
    match address.matches(':').count() {
        0 | 1 => Ok((None, address)),
        2 => {
            let (ip, ports) = address.split_once(':').unwrap_or_default();
            match ip {
                "" => Ok((None, ports)),
                ip => ip
                    .parse()
                    .map(|ip| (Some(IpAddr::V4(ip)), ports))
                    .map_err(|_| invalid(ip)),
            }
        }
        _ => Err(format!(
            "too many colons in `{text}`: write `[IP:][HOST]:PORT`, and an IPv6 address in brackets"
        )),
    }
}

fn parse_range(text: &str, what: &str, range: &str) -> Result<RangeInclusive<u16>, String> {
    let parse = |port: &str| {
        let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let number = if is_number { port.parse::<u16>().ok() } else { None };
        number.ok_or_else(|| format!("invalid {what} `{port}` in `{text}`: ports are numbers up to 65535"))
    };
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last) = (parse(first)?, parse(last)?);
    if first > last {
        return Err(format!("invalid range `{range}` in `{text}`: it runs backwards"));
    }
    Ok(first..=last)
}

/// Host and container ports side by side; a range of host ports for one container port stays a range.
fn pair(
    text: &str,
    host: Option<RangeInclusive<u16>>,
    container: RangeInclusive<u16>,
) -> Result<impl Iterator<Item = (u16, Option<u16>, u16)>, String> {
    let host: Vec<(u16, Option<u16>)> = match host {
        None => vec![(0, None); container.len()],
        Some(host) if host.len() == container.len() => host.map(|port| (port, None)).collect(),
        Some(host) if container.len() == 1 => vec![(*host.start(), Some(*host.end()))],
        Some(_) => return Err(format!("the ranges in `{text}` differ in length")),
    };
    let pairs = host.into_iter().zip(container);
    Ok(pairs.map(|((first, last), container)| (first, last, container)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(host_ip: Option<&str>, host_port: u16, container_port: u16, protocol: Protocol) -> PortRequest {
        let host_ip = host_ip.map(|ip| ip.parse().expect("an address"));
        PortRequest {
            host_ip,
            host_port,
            last_host_port: None,
            container_port,
            protocol,
        }
    }

    #[test]
    fn a_port_is_inherited_by_whoever_asks_for_that_very_one() {
        let held = |address: &str| PublishedPort {
            host_ip: address.parse().expect("an address"),
            host_port: 8080,
            container_port: 80,
            protocol: Protocol::Tcp,
        };
        let asked = port(None, 8080, 81, Protocol::Tcp);
        for address in ["0.0.0.0", "::"] {
            let inherited = asked.inherited(&held(address)).expect("all addresses");
            assert_eq!((inherited.host_port, inherited.container_port), (8080, 81));
        }
        assert_eq!(asked.inherited(&held("127.0.0.1")), None);
        let on_one = port(Some("127.0.0.1"), 8080, 80, Protocol::Tcp);
        assert!(on_one.inherited(&held("127.0.0.1")).is_some() && on_one.inherited(&held("::")).is_none());
        for other in [
            port(None, 8081, 80, Protocol::Tcp),
            port(None, 8080, 80, Protocol::Udp),
            port(None, 0, 80, Protocol::Tcp),
        ] {
            assert_eq!(other.inherited(&held("0.0.0.0")), None);
        }
        let range = PortRequest {
            last_host_port: Some(8090),
            ..asked
        };
        assert_eq!(range.inherited(&held("0.0.0.0")), None);
    }

    #[test]
    fn every_form_of_docker() {
        use Protocol::{Tcp, Udp};
        for (text, expected) in [
            ("80", vec![port(None, 0, 80, Tcp)]),
            (":80", vec![port(None, 0, 80, Tcp)]),
            ("::80", vec![port(None, 0, 80, Tcp)]),
            (":8080:80", vec![port(None, 8080, 80, Tcp)]),
            ("0:80", vec![port(None, 0, 80, Tcp)]),
            ("80/UDP", vec![port(None, 0, 80, Udp)]),
            ("8080:80", vec![port(None, 8080, 80, Tcp)]),
            ("127.0.0.1::3000", vec![port(Some("127.0.0.1"), 0, 3000, Tcp)]),
            (
                "127.0.0.1:8080:80/udp",
                vec![port(Some("127.0.0.1"), 8080, 80, Udp)],
            ),
            ("0.0.0.0:8080:80", vec![port(Some("0.0.0.0"), 8080, 80, Tcp)]),
            ("[::1]:80:80", vec![port(Some("::1"), 80, 80, Tcp)]),
            ("[::1]::80", vec![port(Some("::1"), 0, 80, Tcp)]),
            (
                "8000-8001:80-81",
                vec![port(None, 8000, 80, Tcp), port(None, 8001, 81, Tcp)],
            ),
            ("80-81", vec![port(None, 0, 80, Tcp), port(None, 0, 81, Tcp)]),
        ] {
            assert_eq!(PortRequest::parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn ports_collide_where_one_has_all_addresses() {
        for (asked, held, expected) in [
            ("80:80", "127.0.0.1", true),
            ("80:80", "::1", true),
            ("80:80", "0.0.0.0", true),
            ("127.0.0.1:80:80", "0.0.0.0", true),
            ("127.0.0.1:80:80", "::", false),
            ("127.0.0.1:80:80", "127.0.0.2", false),
            ("127.0.0.1:80:80", "127.0.0.1", true),
            ("[::]:80:80", "127.0.0.1", false),
            ("81:80", "127.0.0.1", false),
            ("80:80/udp", "127.0.0.1", false),
            ("80-90:80", "127.0.0.1", false),
        ] {
            let held = PublishedPort {
                host_ip: held.parse().unwrap(),
                host_port: 80,
                container_port: 80,
                protocol: Protocol::Tcp,
            };
            let request = PortRequest::parse(asked).unwrap().remove(0);
            assert_eq!(request.collides(&held), expected, "{asked} beside {held:?}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, message) in [
            ("", "no port specified: ``"),
            ("8080:", "no port specified: `8080:`"),
            (
                "eighty",
                "invalid container port `eighty` in `eighty`: ports are numbers up to 65535",
            ),
            (
                "x:80",
                "invalid host port `x` in `x:80`: ports are numbers up to 65535",
            ),
            (
                "65536:80",
                "invalid host port `65536` in `65536:80`: ports are numbers up to 65535",
            ),
            (
                "+8:80",
                "invalid host port `+8` in `+8:80`: ports are numbers up to 65535",
            ),
            ("80:0", "invalid container port `0` in `80:0`"),
            ("80/tdp", "invalid protocol `tdp` in `80/tdp`: use tcp or udp"),
            (
                "80/sctp",
                "protocol `sctp` in `80/sctp` is not supported: use tcp or udp",
            ),
            (
                "localhost:80:80",
                "invalid IP address `localhost` in `localhost:80:80`",
            ),
            (
                "[127.0.0.1]:80:80",
                "invalid IP address `127.0.0.1` in `[127.0.0.1]:80:80`",
            ),
            ("[::1:80", "`]:` is missing in `[::1:80`"),
            ("82-80", "invalid range `82-80` in `82-80`: it runs backwards"),
            ("1-3:80-81", "the ranges in `1-3:80-81` differ in length"),
            (
                "fe80::1:80:80",
                "too many colons in `fe80::1:80:80`: write `[IP:][HOST]:PORT`, and an IPv6 address in brackets",
            ),
        ] {
            assert_eq!(PortRequest::parse(text), Err(message.to_owned()), "{text}");
        }
    }

    #[test]
    fn one_of_a_range() {
        let ports = PortRequest::parse("8000-8010:80").expect("valid");
        assert_eq!(ports.len(), 1);
        assert_eq!((ports[0].host_port, ports[0].last_host_port), (8000, Some(8010)));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,24}") {
            let _ = PortRequest::parse(&text);
        }

        #[test]
        fn what_was_asked_is_what_is_parsed(host in 1_u16.., container in 1_u16..) {
            let ports = PortRequest::parse(&format!("{host}:{container}")).expect("valid");
            proptest::prop_assert_eq!(ports, vec![port(None, host, container, Protocol::Tcp)]);
        }
    }
}
