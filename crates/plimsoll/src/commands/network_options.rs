//! Flags of `run` and `create` about networks, and what they mean.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use plimsoll_container::NetworkMode;
use plimsoll_network::{AttachOptions, PortRequest, Resolver};

use crate::command_error::CommandError;

/// Flags that say how the container is connected.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct NetworkArgs {
    /// Network: `bridge`, `host`, `none`, `container:NAME`, one of your own, or `name=..,alias=..,ip=..`
    #[arg(long, visible_alias = "net", value_name = "NETWORK")]
    network: Vec<String>,
    /// Another name on the network
    #[arg(long, visible_alias = "net-alias", value_name = "NAME")]
    network_alias: Vec<String>,
    /// IPv4 address on the network
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<Ipv4Addr>,
    /// IPv6 address on the network
    #[arg(long, value_name = "ADDRESS")]
    ip6: Option<Ipv6Addr>,
    /// Further address of its link, such as `169.254.8.8`
    #[arg(long, value_name = "ADDRESS")]
    link_local_ip: Vec<IpAddr>,
    /// Hardware address on the network
    #[arg(long, value_name = "MAC")]
    mac_address: Option<String>,
    /// Give another container a name here
    #[arg(long, value_name = "CONTAINER[:NAME]")]
    link: Vec<String>,
    /// Ask this name server instead of the host's
    #[arg(long, value_name = "ADDRESS")]
    dns: Vec<IpAddr>,
    /// Look for names in this domain; `.` for none
    #[arg(long, value_name = "DOMAIN")]
    dns_search: Vec<String>,
    /// Set an option of resolv.conf
    #[arg(long, visible_alias = "dns-opt", value_name = "OPTION")]
    dns_option: Vec<String>,
    /// Publish a port on the host
    #[arg(short, long, value_name = "[IP:][HOST]:PORT")]
    publish: Vec<String>,
    /// Publish all exposed ports on random host ports
    #[arg(short = 'P', long)]
    publish_all: bool,
    /// Expose a port without publishing it
    #[arg(long, value_name = "PORT[/PROTOCOL]")]
    expose: Vec<String>,
    /// Name of the host in the container
    #[arg(short = 'h', long, value_name = "NAME")]
    pub(crate) hostname: Option<String>,
    /// Add a line to the container's /etc/hosts
    #[arg(long, value_name = "NAME:ADDRESS")]
    add_host: Vec<String>,
}

/// Names of networks, and what is asked of each.
type Places = Vec<(String, AttachOptions)>;

/// What [`NetworkArgs`] mean.
pub(crate) struct NetworkOptions {
    pub(crate) mode: NetworkMode,
    pub(crate) attachments: Places,
    pub(crate) resolver: Resolver,
    pub(crate) links: Vec<(String, String)>,
    pub(crate) ports: Vec<PortRequest>,
    pub(crate) publish_all: bool,
    pub(crate) expose: Vec<String>,
    pub(crate) extra_hosts: Vec<(String, String)>,
}

impl NetworkArgs {
    /// Resolves the flags; refuses what Docker refuses, in its words.
    pub(crate) fn options(&self) -> Result<NetworkOptions, CommandError> {
        let mut ports = Vec::new();
        for text in &self.publish {
            ports.extend(PortRequest::parse(text).map_err(CommandError::usage)?);
        }
        let mut expose = Vec::new();
        for text in &self.expose {
            expose.extend(exposed(text)?);
        }
        let (mode, attachments) = self.networks()?;
        self.check(&mode)?;
        Ok(NetworkOptions {
            mode,
            attachments,
            resolver: Resolver {
                servers: self.dns.clone(),
                search: self.dns_search.clone(),
                options: self.dns_option.clone(),
            },
            links: self
                .link
                .iter()
                .map(|text| link(text))
                .collect::<Result<_, _>>()?,
            ports,
            publish_all: self.publish_all,
            expose,
            extra_hosts: self
                .add_host
                .iter()
                .map(|text| extra_host(text))
                .collect::<Result<_, _>>()?,
        })
    }

    /// What is asked for and has no effect.
    pub(crate) fn warning(&self) -> Option<&'static str> {
        let is_host = self.network.iter().any(|network| network == "host");
        let publishes = !self.publish.is_empty() || self.publish_all;
        (is_host && publishes)
            .then_some("WARNING: Published ports are discarded when using host network mode")
    }

    /// The first network is the one that flags without a network mean.
    fn networks(&self) -> Result<(NetworkMode, Places), CommandError> {
        let wrong = |text: &str| Err(CommandError::usage(text));
        let mut places = Places::new();
        for text in &self.network {
            let (name, options) = place(text)?;
            if places.iter().any(|(known, _)| *known == name) {
                return Err(CommandError::usage(format!(
                    "network {name:?} is specified multiple times"
                )));
            }
            places.push((name, options));
        }
        let mut modes = places.iter().map(|(name, _)| mode(name));
        let first = modes.next().transpose()?.unwrap_or_default();
        let rest = modes.collect::<Result<Vec<_>, _>>()?;
        let is_user = |mode: &NetworkMode| matches!(mode, NetworkMode::User(_));
        let is_bridge = |mode: &NetworkMode| is_user(mode) || *mode == NetworkMode::Bridge;
        let mut all = std::iter::once(&first).chain(&rest);
        if !rest.is_empty() && !all.all(is_bridge) {
            return wrong(
                "conflicting options: cannot attach both user-defined and non-user-defined network-modes",
            );
        }
        let mut flags = places
            .first()
            .map(|(_, options)| options.clone())
            .unwrap_or_default();
        if !self.network_alias.is_empty() {
            if !flags.aliases.is_empty() {
                return wrong(
                    "conflicting options: cannot specify both --network-alias and per-network alias",
                );
            }
            if !is_user(&first) {
                return wrong("network-scoped aliases are only supported for user-defined networks");
            }
            flags.aliases.clone_from(&self.network_alias);
        }
        if self.ip.is_some() && flags.address.is_some() || self.ip6.is_some() && flags.address6.is_some() {
            return wrong("conflicting options: cannot specify both --ip and per-network IPv4 address");
        }
        flags.address = flags.address.or(self.ip);
        flags.address6 = flags.address6.or(self.ip6);
        flags.link_local.extend(&self.link_local_ip);
        if let Some(mac) = &self.mac_address {
            flags.mac = Some(hardware_address(mac)?);
        }
        let plain = flags == AttachOptions::default();
        match places.first_mut() {
            Some((_, options)) => *options = flags,
            None if plain => {}
            None => places.push(("bridge".to_owned(), flags)),
        }
        // A container of the default bridge alone needs no place of its own until it starts.
        let named = !matches!(first, NetworkMode::Bridge) || places.len() > 1 || !plain;
        let has_places = is_user(&first) || first == NetworkMode::Bridge;
        for (name, _) in &mut places {
            if name == "default" {
                *name = "bridge".to_owned();
            }
        }
        Ok((first, if named && has_places { places } else { Vec::new() }))
    }

    /// What makes no sense in a network that belongs to somebody else.
    fn check(&self, mode: &NetworkMode) -> Result<(), CommandError> {
        let conflicts: &[(bool, &str)] = match mode {
            NetworkMode::Container(_) => &[
                (self.hostname.is_some(), "hostname and the network mode"),
                (
                    !self.link.is_empty(),
                    "container type network can't be used with links. This would result in undefined behavior",
                ),
                (!self.dns.is_empty(), "dns and the network mode"),
                (
                    !self.add_host.is_empty(),
                    "custom host-to-IP mapping and the network mode",
                ),
                (self.mac_address.is_some(), "mac-address and the network mode"),
                (
                    !self.publish.is_empty() || self.publish_all,
                    "port publishing and the container type network mode",
                ),
                (
                    !self.expose.is_empty(),
                    "port exposing and the container type network mode",
                ),
            ],
            NetworkMode::Host => &[(
                !self.link.is_empty(),
                "host type networking can't be used with links. This would result in undefined behavior",
            )],
            _ => &[],
        };
        match conflicts.iter().find(|(conflict, _)| *conflict) {
            Some((_, what)) => Err(CommandError::usage(format!("conflicting options: {what}"))),
            None => Ok(()),
        }
    }
}

/// A network's name, or `name=web,alias=a,ip=10.0.0.5`.
fn place(text: &str) -> Result<(String, AttachOptions), CommandError> {
    let wrong = |what: String| CommandError::usage(format!("invalid --network `{text}`: {what}"));
    let mut options = AttachOptions::default();
    if !text.contains('=') {
        return Ok((text.to_owned(), options));
    }
    let mut name = None;
    for field in text.split(',') {
        let (key, value) = field
            .split_once('=')
            .ok_or_else(|| wrong(format!("invalid field {field}")))?;
        let address = || wrong(format!("`{value}` is no address"));
        match key {
            "name" => name = Some(value.to_owned()),
            "alias" => options.aliases.push(value.to_owned()),
            "ip" => options.address = Some(value.parse().map_err(|_| address())?),
            "ip6" => options.address6 = Some(value.parse().map_err(|_| address())?),
            "link-local-ip" => options.link_local.push(value.parse().map_err(|_| address())?),
            "mac-address" => options.mac = Some(hardware_address(value)?),
            "gw-priority" => {
                let priority = value
                    .parse()
                    .map_err(|_| wrong(format!("`{value}` is no number")))?;
                options.gateway_priority = priority;
            }
            "driver-opt" => {
                let (key, value) = value.split_once('=').unwrap_or((value, ""));
                options.driver_options.insert(key.to_owned(), value.to_owned());
            }
            _ => return Err(wrong(format!("invalid field key {key}"))),
        }
    }
    name.map(|name| (name, options))
        .ok_or_else(|| wrong("network name/id is not specified".to_owned()))
}

fn mode(name: &str) -> Result<NetworkMode, CommandError> {
    Ok(match name {
        "" | "bridge" | "default" => NetworkMode::Bridge,
        "host" => NetworkMode::Host,
        "none" => NetworkMode::None,
        name => match name.strip_prefix("container:") {
            Some("") => {
                return Err(CommandError::usage(
                    "invalid container format container:<name|id>",
                ));
            }
            Some(container) => NetworkMode::Container(container.to_owned()),
            None => NetworkMode::User(name.to_owned()),
        },
    })
}

/// `02:42:AC:11:00:02`, in lower case.
pub(super) fn hardware_address(text: &str) -> Result<String, CommandError> {
    let parts: Vec<&str> = text.split([':', '-']).collect();
    let is_byte = |part: &&str| part.len() == 2 && part.bytes().all(|letter| letter.is_ascii_hexdigit());
    match parts.len() == 6 && parts.iter().all(is_byte) {
        true => Ok(parts.join(":").to_ascii_lowercase()),
        false => Err(CommandError::usage(format!("{text} is not a valid mac address"))),
    }
}

/// `CONTAINER`, `CONTAINER:NAME`
fn link(text: &str) -> Result<(String, String), CommandError> {
    let wrong = || CommandError::usage(format!("bad format for links: {text}"));
    let (target, alias) = text.split_once(':').unwrap_or((text, text));
    if target.is_empty() || alias.is_empty() || alias.contains(':') {
        return Err(wrong());
    }
    let plain = |name: &str| name.trim_start_matches('/').to_owned();
    Ok((plain(target), plain(alias)))
}

/// `80`, `80/udp`, `3000-3005`: each port on its own.
fn exposed(text: &str) -> Result<Vec<String>, CommandError> {
    let wrong = || CommandError::usage(format!("invalid range format for --expose: {text}"));
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let (first, last): (u16, u16) = (
        first.parse().map_err(|_| wrong())?,
        last.parse().map_err(|_| wrong())?,
    );
    let protocol = protocol.to_ascii_lowercase();
    if first > last || !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(wrong());
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

fn extra_host(text: &str) -> Result<(String, String), CommandError> {
    let wrong = || {
        CommandError::usage(format!(
            "bad format for add-host: `{text}`: expected `NAME:ADDRESS`"
        ))
    };
    let (name, address) = text
        .split_once('=')
        .or_else(|| text.split_once(':'))
        .ok_or_else(wrong)?;
    let address = address.trim_start_matches('[').trim_end_matches(']');
    let valid = address == "host-gateway" || address.parse::<IpAddr>().is_ok();
    if name.is_empty() || !valid {
        return Err(wrong());
    }
    Ok((name.to_owned(), address.to_owned()))
}

/// `KEY=VALUE` flags as a map.
pub(super) fn pairs(what: &str, texts: &[String]) -> Result<BTreeMap<String, String>, CommandError> {
    let pair = |text: &String| match text.split_once('=') {
        Some(("", _)) => Err(CommandError::usage(format!("invalid {what} `{text}`"))),
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Ok((text.clone(), String::new())),
    };
    texts.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    #[command(disable_help_flag = true)]
    struct Cli {
        #[command(flatten)]
        args: NetworkArgs,
    }

    fn options(words: &[&str]) -> Result<NetworkOptions, CommandError> {
        use clap::Parser as _;
        let all = std::iter::once("run").chain(words.iter().copied());
        Cli::try_parse_from(all)
            .map_err(|error| CommandError::usage(error.to_string()))?
            .args
            .options()
    }

    #[test]
    fn networks_and_what_is_asked_of_them() {
        let plain = options(&[]).unwrap();
        assert_eq!((plain.mode, plain.attachments.len()), (NetworkMode::Bridge, 0));
        let asked = options(&[
            "--network",
            "web",
            "--network",
            "name=db,alias=store,ip=10.0.0.5,gw-priority=2",
            "--network-alias",
            "front",
            "--ip",
            "10.1.0.9",
            "--mac-address",
            "02-42-AC-11-00-02",
        ])
        .unwrap();
        assert_eq!(asked.mode, NetworkMode::User("web".to_owned()));
        let [(web, one), (db, two)] = asked.attachments.as_slice() else {
            panic!("two")
        };
        assert_eq!((web.as_str(), db.as_str()), ("web", "db"));
        assert_eq!(
            (one.aliases.as_slice(), one.address),
            (&["front".to_owned()][..], "10.1.0.9".parse().ok())
        );
        assert_eq!(one.mac.as_deref(), Some("02:42:ac:11:00:02"));
        assert_eq!(
            (two.aliases[0].as_str(), two.address, two.gateway_priority),
            ("store", "10.0.0.5".parse().ok(), 2)
        );
        let shared = options(&["--network", "container:web"]).unwrap();
        assert_eq!(shared.mode, NetworkMode::Container("web".to_owned()));
    }

    #[test]
    fn refusals_are_dockers() {
        for (words, message) in [
            (
                &["--network", "host", "--network", "web"][..],
                "cannot attach both user-defined and non-user-defined network-modes",
            ),
            (
                &["--network", "web", "--network", "web"],
                "network \"web\" is specified multiple times",
            ),
            (
                &["--network-alias", "x"],
                "network-scoped aliases are only supported for user-defined networks",
            ),
            (
                &["--network", "container:a", "-p", "1:2"],
                "conflicting options: port publishing and the container type network mode",
            ),
            (
                &["--network", "container:a", "--hostname", "x"],
                "conflicting options: hostname and the network mode",
            ),
            (&["--network", "name=a,colour=red"], "invalid field key colour"),
            (
                &["--mac-address", "nonsense"],
                "nonsense is not a valid mac address",
            ),
            (&["--expose", "9-1"], "invalid range format for --expose: 9-1"),
            (
                &["-p", "80:80/sctp"],
                "protocol `sctp` in `80:80/sctp` is not supported",
            ),
            (&["--add-host", "x:y"], "bad format for add-host"),
        ] {
            let error = options(words).err().expect("refused").to_text();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn ports_of_the_hosts_network_are_discarded_aloud() {
        let parse = |words: &[&str]| {
            use clap::Parser as _;
            Cli::try_parse_from(std::iter::once("run").chain(words.iter().copied()))
                .unwrap()
                .args
        };
        assert!(parse(&["--network", "host", "-p", "80:80"]).warning().is_some());
        assert!(parse(&["--network", "none", "-p", "80:80"]).warning().is_none());
        assert_eq!(
            options(&["--expose", "3000-3002/udp"]).unwrap().expose,
            ["3000/udp", "3001/udp", "3002/udp"]
        );
        let links = options(&["--link", "db:store", "--link", "cache"]).unwrap().links;
        assert_eq!(links[0], ("db".to_owned(), "store".to_owned()));
        assert_eq!(links[1], ("cache".to_owned(), "cache".to_owned()));
    }
}
