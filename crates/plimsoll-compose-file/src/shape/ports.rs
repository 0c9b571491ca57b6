//! `ports`: the short grammar, `[[IP:][HOST]:]CONTAINER[/PROTOCOL]`, with ranges.

use plimsoll_diagnostics::nearest;

use super::Wrong;

/// One published port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Port {
    pub(super) host_ip: Option<String>,
    /// A port, or a range to choose from.
    pub(super) published: Option<String>,
    pub(super) target: u16,
    pub(super) protocol: String,
}

/// How the short form is written, for who wrote it otherwise.
const FORM: &str = "it is written as `[[IP:]HOST:]CONTAINER[/PROTOCOL]`, such as `127.0.0.1:8080:80/tcp`";

const PROTOCOLS: [&str; 3] = ["tcp", "udp", "sctp"];

/// Reads the short form; a range in the container gives one for each of its ports.
pub(super) fn parse(text: &str) -> Result<Vec<Port>, Wrong> {
    let (rest, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !PROTOCOLS.contains(&protocol.as_str()) {
        let why = format!("invalid protocol `{protocol}`: it is tcp, udp or sctp");
        let near = nearest(&protocol, PROTOCOLS);
        return Err(Wrong::new(
            why,
            near.map_or(FORM.to_owned(), |near| format!("did you mean `{rest}/{near}`?")),
        ));
    }
    let (host, container) = rest
        .rsplit_once(':')
        .map_or((None, rest), |(host, port)| (Some(host), port));
    let (host_ip, published) = match host {
        None => (None, None),
        Some(host) => match host.rsplit_once(':') {
            // `:8080:80` is what is left of an empty variable: all addresses.
            Some(("", port)) => (None, Some(port)),
            Some((address, port)) => (Some(address_of(address, text)?), Some(port)),
            None => (None, Some(host)),
        },
    };
    if container.is_empty() {
        let help = format!("the port in the container comes last: `{rest}80`");
        return Err(Wrong::new("there is no port of the container", help));
    }
    let targets = range(container, 1, text)?;
    let published = published.filter(|port| !port.is_empty());
    // Port 0 of the host is any that is free.
    let hosts = published.map(|port| range(port, 0, text)).transpose()?;
    let several = targets.1 > targets.0;
    if let Some(hosts) = hosts
        && several
        && hosts.1 - hosts.0 != targets.1 - targets.0
    {
        let end = u32::from(hosts.0) + u32::from(targets.1 - targets.0);
        return Err(Wrong::new(
            "the ranges of host and container differ in length",
            format!("did you mean `{}-{end}:{container}`?", hosts.0),
        ));
    }
    let port = |target: u16| Port {
        host_ip: host_ip.clone(),
        published: match (published, hosts) {
            (Some(text), Some(_)) if !several => Some(text.to_owned()),
            (_, Some(hosts)) => Some((hosts.0 + (target - targets.0)).to_string()),
            _ => None,
        },
        target,
        protocol: protocol.clone(),
    };
    Ok((targets.0..=targets.1).map(port).collect())
}

/// The address of the host in `whole`.
fn address_of(text: &str, whole: &str) -> Result<String, Wrong> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    if bare.parse::<std::net::IpAddr>().is_ok() {
        return Ok(bare.to_owned());
    }
    let help = match text {
        "localhost" => format!("did you mean `{}`?", whole.replacen("localhost", "127.0.0.1", 1)),
        text if text.contains(':') && !text.starts_with('[') => {
            return Err(Wrong::new(
                "too many colons",
                format!("{FORM}; an IPv6 address has brackets"),
            ));
        }
        text if text.starts_with('[') => "an IPv6 address is written as `[::1]:8080:80`".to_owned(),
        _ => format!("an address is meant, not a name: {FORM}"),
    };
    Err(Wrong::new(format!("invalid IP address `{text}`"), help))
}

/// The ports of one part of `whole`.
fn range(text: &str, least: u16, whole: &str) -> Result<(u16, u16), Wrong> {
    let number = |text: &str| match text.parse::<u16>() {
        Ok(port) if port >= least => Ok(port),
        _ => {
            let tight: String = whole.split_whitespace().collect();
            let help = match tight.len() < whole.len() && text.trim().parse::<u16>().is_ok() {
                true => format!("did you mean `{tight}`?"),
                false => FORM.to_owned(),
            };
            Err(Wrong::new(
                format!("invalid port `{text}`: it is a number from 1 to 65535"),
                help,
            ))
        }
    };
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    match (number(from)?, number(to)?) {
        (from, to) if from <= to => Ok((from, to)),
        (from, to) => Err(Wrong::new(
            format!("invalid range `{text}`: it ends before it begins"),
            format!("did you mean `{to}-{from}`?"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match parse(text) {
            Ok(ports) => {
                let shown = ports.iter().map(|port| {
                    let host = port.host_ip.as_deref().unwrap_or("-");
                    format!(
                        "{host} {} {}/{}",
                        port.published.as_deref().unwrap_or("-"),
                        port.target,
                        port.protocol
                    )
                });
                shown.collect::<Vec<_>>().join(", ")
            }
            Err(error) => format!("error: {} ({})", error.why, error.help),
        }
    }

    #[test]
    fn short_forms() {
        for (text, expected) in [
            ("80", "- - 80/tcp"),
            ("8080:80", "- 8080 80/tcp"),
            ("8080:80/udp", "- 8080 80/udp"),
            ("127.0.0.1:8080:80", "127.0.0.1 8080 80/tcp"),
            ("127.0.0.1::80", "127.0.0.1 - 80/tcp"),
            ("[::1]:8080:80", "::1 8080 80/tcp"),
            ("8000-8001:80-81", "- 8000 80/tcp, - 8001 81/tcp"),
            ("8000-8010:80", "- 8000-8010 80/tcp"),
            ("80-81", "- - 80/tcp, - - 81/tcp"),
            ("0:80", "- 0 80/tcp"),
            (":8080:80", "- 8080 80/tcp"),
            ("::80", "- - 80/tcp"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
        for text in [
            "",
            "x",
            "0",
            "70000",
            "8000-8002:80-81",
            "81-80",
            "1.2.3:8080:80",
            "80/icmp",
        ] {
            assert!(shown(text).starts_with("error"), "{text}: {}", shown(text));
        }
    }
}
