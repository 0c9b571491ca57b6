//! A port is open to everybody who can reach the machine.
//!
//! ## Why
//! `"5432:5432"` listens on every address of the host, and firewalls such as ufw do not see it. A database or cache is for
//! the services of the project: they reach it by its name on their network without any published port. Its port, or that of
//! another service whose address is not named, is a warning for data and information for the rest.
//!
//! ## Bad
//! ```yaml
//! services:
//!   db:
//!     image: postgres:17
//!     ports:
//!       - "5432:5432"
//! ```
//!
//! ## Good
//! ```yaml
//! services:
//!   db:
//!     image: postgres:17
//!     ports:
//!       - "127.0.0.1:5432:5432"   # for tools on this machine only
//! ```

use plimsoll_compose_file::Node;
use plimsoll_diagnostics::{Fix, Severity, Span};

use super::service::{Port, Service, services, written};
use super::software;
use crate::view::ComposeView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("port-all-interfaces", Severity::Warning)
    .aliases(&["CL-0005", "CIS-5.14"])
    .checks(&[Check::Compose(check)]);

fn check(view: &ComposeView, checker: &mut Checker<'_>) {
    for service in services(view) {
        for port in service.ports().into_iter().filter(|port| !port.has_address) {
            let is_data = keeps_data(&service, &port);
            let number = port.target.map_or_else(String::new, |port| format!(" {port}"));
            let (message, help) = match is_data {
                true => (
                    format!(
                        "the data of service `{}` is open to the network on port{number}",
                        service.name
                    ),
                    "services of the project need no published port; for tools on this machine write `127.0.0.1:` before it",
                ),
                false => (
                    format!(
                        "port{number} of service `{}` is open on every address of the host",
                        service.name
                    ),
                    "name the address it is for, `127.0.0.1:` behind a proxy on this machine",
                ),
            };
            let mut finding = Finding::at(&port.node.place, message).help(help);
            if !is_data {
                finding = finding.severity(Severity::Info);
            }
            if let Some(fix) = fix(port.node).filter(|_| is_data) {
                finding = finding.fix(fix);
            }
            checker.report(finding);
        }
    }
}

fn keeps_data(service: &Service<'_>, port: &Port<'_>) -> bool {
    match service.software() {
        Some(software) => software.keeps_data,
        None => port.target.is_some_and(software::is_data_port),
    }
}

/// Puts the address before `"5432:5432"`; other forms are left to the reader.
fn fix(port: &Node) -> Option<Fix> {
    let text = written(port);
    let inner = text.trim_matches(['"', '\'']);
    let is_short =
        inner.contains(':') && inner.starts_with(|letter: char| letter.is_ascii_digit() || letter == '$');
    if !is_short || text.contains('\n') {
        return None;
    }
    let quoted = format!("\"127.0.0.1:{inner}\"");
    let span = Span::new(port.place.span.start, port.place.span.end);
    Some(Fix::ask("open it on this machine only").replace(&port.place.source, span, quoted))
}
