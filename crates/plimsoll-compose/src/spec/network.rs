//! Networks, names and ports.

use plimsoll_compose_file::model::{Port, Service, ServiceNetwork};
use plimsoll_container::{CreateOptions, NetworkMode};
use plimsoll_network::{AttachOptions, INTERFACE_NAME, PortRequest, Resolver};

use super::Making;
use crate::desired::Desired;
use crate::error::{ComposeError, Result};

/// The first network of a service that says nothing of `network_mode`.
pub(crate) fn own_network(desired: &Desired, service: &Service) -> Option<NetworkMode> {
    if asked_mode(service).is_some() {
        return None;
    }
    let first = service.networks_by_priority().into_iter().next()?;
    let network = desired.model.networks.get(first)?;
    Some(NetworkMode::User(network.name.clone()))
}

fn asked_mode(service: &Service) -> Option<&str> {
    service.network_mode.as_deref().filter(|mode| !mode.is_empty())
}

impl Making<'_> {
    pub(super) fn connect(&self, options: &mut CreateOptions) -> Result<()> {
        let service = self.service;
        options.network = self.mode()?;
        if let NetworkMode::User(_) = options.network {
            options.attachments = self.attachments()?;
        }
        options.ports = self.ports()?;
        options.expose = self.exposed()?;
        options.links = self.links()?;
        options.resolver = Resolver {
            servers: service
                .dns
                .iter()
                .map(|text| {
                    text.parse()
                        .map_err(|_| self.wrong("dns", format!("`{text}` is no address")))
                })
                .collect::<Result<_>>()?,
            search: service.dns_search.clone(),
            options: service.dns_opt.clone(),
        };
        options.extra_hosts = service
            .extra_hosts
            .iter()
            .filter_map(|text| text.split_once('=').or_else(|| text.split_once(':')))
            .map(|(name, address)| {
                let address = address.trim_start_matches('[').trim_end_matches(']');
                (name.to_owned(), address.to_owned())
            })
            .collect();
        Ok(())
    }

    fn mode(&self) -> Result<NetworkMode> {
        let service = self.service;
        let Some(mode) = asked_mode(service) else {
            return Ok(own_network(self.desired, service).unwrap_or(NetworkMode::None));
        };
        Ok(match mode {
            "host" => NetworkMode::Host,
            "none" => NetworkMode::None,
            "bridge" | "default" => NetworkMode::Bridge,
            mode => match (mode.strip_prefix("service:"), mode.strip_prefix("container:")) {
                (Some(name), _) => NetworkMode::Container(self.peer(name)?.to_owned()),
                (_, Some(name)) => NetworkMode::Container(name.to_owned()),
                _ => NetworkMode::User(mode.to_owned()),
            },
        })
    }

    fn attachments(&self) -> Result<Vec<(String, AttachOptions)>> {
        let mut places = Vec::new();
        for (number, key) in self.service.networks_by_priority().into_iter().enumerate() {
            let Some(network) = self.desired.model.networks.get(key) else {
                continue;
            };
            let own = self
                .service
                .networks
                .get(key)
                .cloned()
                .flatten()
                .unwrap_or_default();
            let mut options = self.place(&own)?;
            if number == 0 && options.mac.is_none() {
                options.mac.clone_from(&self.service.mac_address);
            }
            places.push((network.name.clone(), options));
        }
        Ok(places)
    }

    fn place(&self, own: &ServiceNetwork) -> Result<AttachOptions> {
        let wrong = |text: &str| self.wrong("networks", format!("`{text}` is no address"));
        let mut aliases = vec![self.name.to_owned()];
        aliases.extend(own.aliases.iter().filter(|alias| *alias != self.name).cloned());
        let mut driver_options = own.driver_opts.clone();
        if let Some(name) = &own.interface_name {
            driver_options.insert(INTERFACE_NAME.to_owned(), name.clone());
        }
        let address = own.ipv4_address.as_ref();
        let address6 = own.ipv6_address.as_ref();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a priority is a small whole number"
        )]
        let gateway_priority = own.gw_priority.unwrap_or(0.0) as i32;
        Ok(AttachOptions {
            aliases,
            address: address
                .map(|text| text.parse().map_err(|_| wrong(text)))
                .transpose()?,
            address6: address6
                .map(|text| text.parse().map_err(|_| wrong(text)))
                .transpose()?,
            mac: own.mac_address.clone(),
            gateway_priority,
            hostname: String::new(),
            link_local: own
                .link_local_ips
                .iter()
                .map(|text| text.parse().map_err(|_| wrong(text)))
                .collect::<Result<_>>()?,
            driver_options,
        })
    }

    fn ports(&self) -> Result<Vec<PortRequest>> {
        let mut ports = Vec::new();
        for port in &self.service.ports {
            let parsed = PortRequest::parse(&text(port));
            ports.extend(parsed.map_err(|error| self.wrong("ports", error))?);
        }
        Ok(ports)
    }

    /// Each port of a range on its own.
    fn exposed(&self) -> Result<Vec<String>> {
        let mut all = Vec::new();
        for text in &self.service.expose {
            let wrong = || self.wrong("expose", format!("invalid port `{text}`"));
            let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last): (u16, u16) = (
                first.parse().map_err(|_| wrong())?,
                last.parse().map_err(|_| wrong())?,
            );
            all.extend((first..=last).map(|port| format!("{port}/{protocol}")));
        }
        Ok(all)
    }

    /// Containers of other services, and of other projects.
    fn links(&self) -> Result<Vec<(String, String)>> {
        let mut links = Vec::new();
        for text in &self.service.links {
            let (name, alias) = text.split_once(':').unwrap_or((text, text));
            // By their names: they need not be there yet, and may be replaced.
            let targets = self.names.get(name).filter(|names| !names.is_empty()).cloned();
            let first = self.desired.container_name(name, 1);
            for target in targets.unwrap_or_else(|| vec![first.clone()]) {
                // Also `web-2`, by which Compose knows it; one with a name of its own is the only one.
                let number = match target == first {
                    true => "1",
                    false => target.rsplit(self.desired.separator).next().unwrap_or("1"),
                };
                let numbered = format!("{name}-{number}");
                for alias in [alias, &numbered] {
                    let link = (target.clone(), alias.to_owned());
                    if !links.contains(&link) {
                        links.push(link);
                    }
                }
            }
        }
        for text in &self.service.external_links {
            let (name, alias) = text.split_once(':').unwrap_or((text, text));
            let container = self.containers.get(name).map_err(ComposeError::from)?;
            links.push((container.id().to_owned(), alias.to_owned()));
        }
        Ok(links)
    }
}

/// As `-p` has it.
fn text(port: &Port) -> String {
    let address = match port.host_ip.as_deref() {
        None | Some("") => String::new(),
        Some(address) if address.contains(':') && !address.starts_with('[') => format!("[{address}]:"),
        Some(address) => format!("{address}:"),
    };
    let published = match port.published.as_deref() {
        None | Some("") if address.is_empty() => String::new(),
        None | Some("") => ":".to_owned(),
        Some(published) => format!("{published}:"),
    };
    let protocol = port.protocol.as_deref().unwrap_or("tcp");
    format!("{address}{published}{}/{protocol}", port.target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_written_as_for_run() {
        let port = |host_ip: Option<&str>, published: Option<&str>, protocol: Option<&str>| Port {
            host_ip: host_ip.map(str::to_owned),
            published: published.map(str::to_owned),
            protocol: protocol.map(str::to_owned),
            target: 80,
            ..Port::default()
        };
        for (port, expected) in [
            (port(None, None, None), "80/tcp"),
            (port(None, Some("8080"), Some("udp")), "8080:80/udp"),
            (port(Some("127.0.0.1"), None, None), "127.0.0.1::80/tcp"),
            (
                port(Some("::1"), Some("8000-8010"), None),
                "[::1]:8000-8010:80/tcp",
            ),
        ] {
            assert_eq!(text(&port), expected);
            assert_eq!(PortRequest::parse(expected).unwrap().len(), 1);
        }
    }
}
