//! Ports of a service: those that its containers listen on, and those that the outside reaches.

use plimsoll_compose_file::model::{Port, Service};
use serde_json::{Value, json};

use crate::app::App;
use crate::names;

/// A port of a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Listening {
    pub(crate) port: u16,
    /// `TCP`, `UDP` or `SCTP`.
    pub(crate) protocol: String,
}

impl Listening {
    /// At most 15 letters (RFC 6335), which `PROJECT-PORT` would not be.
    pub(crate) fn name(&self) -> String {
        format!("{}-{}", self.protocol.to_lowercase(), self.port)
    }

    /// A port of a Service that leads here.
    pub(crate) fn served(&self) -> Value {
        json!({ "name": self.name(), "port": self.port, "targetPort": self.port, "protocol": self.protocol })
    }
}

/// A port that the outside reaches.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    pub(crate) number: u16,
    pub(crate) to: Listening,
    name: String,
    app_protocol: Option<String>,
}

impl Published {
    /// By protocol and number, which nobody else has.
    fn renamed(self) -> Self {
        let name = format!("{}-{}", self.to.protocol.to_lowercase(), self.number);
        Self { name, ..self }
    }

    pub(crate) fn served(&self) -> Value {
        let mut port = json!({
            "name": self.name,
            "port": self.number,
            "targetPort": self.to.port,
            "protocol": self.to.protocol,
        });
        if let Some(protocol) = &self.app_protocol {
            port["appProtocol"] = json!(protocol);
        }
        port
    }
}

/// What the containers listen on, as far as it is known: `ports`, `expose`, and `EXPOSE` of the image.
pub(crate) fn listening(app: &App<'_>, name: &str, service: &Service) -> Vec<Listening> {
    let of_ports = service.ports.iter().map(target);
    let of_image = app.images.get(name).map_or(&[][..], |image| &image.exposed);
    let exposed = service.expose.iter().chain(of_image);
    let mut all: Vec<Listening> = of_ports.chain(exposed.flat_map(|text| range(text))).collect();
    all.sort();
    all.dedup();
    all
}

fn target(port: &Port) -> Listening {
    Listening {
        port: port.target,
        protocol: protocol(port.protocol.as_deref()),
    }
}

fn protocol(text: Option<&str>) -> String {
    match text.map(str::to_uppercase).as_deref() {
        Some("UDP") => "UDP".to_owned(),
        Some("SCTP") => "SCTP".to_owned(),
        _ => "TCP".to_owned(),
    }
}

/// `80`, `80/udp`, `8000-8010/tcp`.
fn range(text: &str) -> Vec<Listening> {
    let (numbers, kind) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
    let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) else {
        return Vec::new();
    };
    let listening = |port| Listening {
        port,
        protocol: protocol(Some(kind)),
    };
    (first..=last).map(listening).collect()
}

/// What the outside reaches. What was only meant for the host itself stays inside the cluster.
pub(crate) fn published(app: &App<'_>, name: &str, service: &Service) -> Vec<Published> {
    let mut all: Vec<Published> = Vec::new();
    for (at, port) in service.ports.iter().enumerate() {
        let at = at.to_string();
        let path = ["services", name, "ports", &at];
        if is_local(port) {
            app.notes.advise(
                &path,
                format!(
                    "port {} is published on the host itself only: in Kubernetes it is not published",
                    port.target
                ),
                format!(
                    "reach it with `kubectl port-forward service/{} {}`",
                    names::service(name),
                    port.target
                ),
            );
            continue;
        }
        let published = one(app, &path, port);
        if all
            .iter()
            .any(|other| other.number == published.number && other.to.protocol == published.to.protocol)
        {
            app.notes.warn(
                &path,
                format!("port {} is published twice: the first counts", published.number),
            );
            continue;
        }
        let is_taken = all.iter().any(|other| other.name == published.name);
        all.push(match is_taken {
            // Compose lets TCP and UDP have one name.
            true => published.renamed(),
            false => published,
        });
    }
    all
}

fn one(app: &App<'_>, path: &[&str], port: &Port) -> Published {
    let to = target(port);
    if let Some(address) = port.host_ip.as_deref().filter(|address| !is_any(address)) {
        app.notes.warn(
            path,
            format!("the cluster gives the address of a published port: `{address}` is not used"),
        );
    }
    let text = port.published.as_deref().unwrap_or_default();
    let first = text.split('-').next().unwrap_or_default();
    let number = match first.parse::<u16>() {
        Ok(number) if number > 0 => number,
        _ => to.port,
    };
    if text.contains('-') {
        app.notes.warn(
            path,
            format!("one port leads to all replicas in Kubernetes: {number} of `{text}`"),
        );
    }
    let own = port
        .name
        .as_deref()
        .filter(|own| names::label(own) == **own && own.len() <= 15);
    Published {
        number,
        name: own.map_or_else(
            || format!("{}-{number}", to.protocol.to_lowercase()),
            str::to_owned,
        ),
        app_protocol: port.app_protocol.clone(),
        to,
    }
}

/// Ports of the containers that the outside reaches.
pub(crate) fn reachable(service: &Service) -> impl Iterator<Item = Listening> {
    service.ports.iter().filter(|port| !is_local(port)).map(target)
}

fn is_any(address: &str) -> bool {
    matches!(address, "" | "0.0.0.0" | "::" | "[::]")
}

fn is_local(port: &Port) -> bool {
    let address = port.host_ip.as_deref().unwrap_or_default();
    address == "localhost" || address.starts_with("127.") || matches!(address, "::1" | "[::1]")
}
