//! A database is on the same network as what the world can reach.
//!
//! ## Why
//! Whoever breaks into the service that has a published port can talk to the database directly, and the database can reach
//! the internet to send its data away. On a network of its own with `internal: true` it answers only to those who need it.
//!
//! ## Bad
//! ```yaml
//! services:
//!   web:
//!     image: example/web:2
//!     ports: ["8080:80"]
//!   db:
//!     image: postgres:17
//! ```
//!
//! ## Good
//! ```yaml
//! services:
//!   web:
//!     image: example/web:2
//!     ports: ["8080:80"]
//!     networks: [front, back]
//!   db:
//!     image: postgres:17
//!     networks: [back]
//! networks:
//!   front:
//!   back:
//!     internal: true
//! ```

use plimsoll_compose_file::{Entry, Node};
use plimsoll_diagnostics::{Fix, Severity};

use super::edit;
use super::service::{Service, services};
use crate::view::ComposeView;
use crate::{Check, Checker, Rule};

pub(super) const RULE: Rule = Rule::new("network-not-segmented", Severity::Info)
    .aliases(&["CIS-5.30"])
    .checks(&[Check::Compose(check)]);

fn check(view: &ComposeView, checker: &mut Checker<'_>) {
    let services = services(view);
    let is_data = |service: &&Service<'_>| service.software().is_some_and(|software| software.keeps_data);
    let open: Vec<_> = services
        .iter()
        .filter(|one| !is_data(one) && !one.ports().is_empty())
        .collect();
    let mut fix = fix(&services);
    for data in services.iter().filter(is_data) {
        let shared = |other: &&&Service<'_>| {
            let of_other = other.networks();
            data.networks()
                .into_iter()
                .any(|name| of_other.contains(&name) && !is_internal(data, name))
        };
        let Some(other) = open.iter().find(shared) else {
            continue;
        };
        let mut finding = data
            .finding(format!(
                "service `{}` is on a network with `{}`, which has published ports",
                data.name, other.name
            ))
            .help("put it on a network of its own with `internal: true`");
        // The edits of one fix put all of them there.
        if let Some(fix) = fix.take() {
            finding = finding.fix(fix);
        }
        checker.report(finding);
    }
}

fn is_internal(service: &Service<'_>, network: &str) -> bool {
    let node = service.project.document.at(&["networks", network, "internal"]);
    node.is_some_and(Node::is_true)
}

/// Two networks, where none was named: all services on the inner one, those with ports on the outer one as well.
fn fix(services: &[Service<'_>]) -> Option<Fix> {
    let first = services.first()?;
    // Loading adds the default network; where somebody wrote one, the file is theirs.
    let written = first.project.document.entry("networks").is_some_and(is_written);
    let has_networks = |service: &Service<'_>| {
        service.entry("networks").is_some_and(is_written) || service.get("network_mode").is_some()
    };
    if written || services.iter().any(has_networks) {
        return None;
    }
    let mut fix = Fix::ask("split the network");
    for service in services {
        // Services that reach out need the outer network; only those with data surely do not.
        let is_data = service.software().is_some_and(|software| software.keeps_data);
        let networks = if is_data && service.ports().is_empty() {
            "networks: [back]"
        } else {
            "networks: [front, back]"
        };
        fix = service.add(fix, &[networks])?;
    }
    let source = &first.key.source;
    let lines = ["networks:", "  front:", "  back:", "    internal: true"];
    Some(edit::append_to_file(fix, source, &lines))
}

fn is_written(entry: &Entry) -> bool {
    entry.place.source.slice(entry.place.span) == entry.key
}
