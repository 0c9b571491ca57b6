//! Merging leaves two ports of the host for one port of a container.
//!
//! ## Why
//! Lists of ports are added up when an override file, `extends` or `include` says more about a service: another port of the
//! host does not take the place of the first, it comes beside it. What was to be moved is open twice, and the old port may be
//! taken. `!override` replaces the whole list, and `!reset` takes it away.
//!
//! ## Bad
//! ```yaml
//! services:
//!   base:
//!     image: nginx:1.29
//!     ports: ["127.0.0.1:8080:80"]
//!   web:
//!     extends: base
//!     ports: ["127.0.0.1:9090:80"]
//! ```
//!
//! ## Good
//! ```yaml
//! services:
//!   base:
//!     image: nginx:1.29
//!     ports: ["127.0.0.1:8080:80"]
//!   web:
//!     extends: base
//!     ports: !override ["127.0.0.1:9090:80"]
//! ```

use plimsoll_compose_file::{Node, Place};
use plimsoll_diagnostics::Severity;

use super::service::services;
use crate::view::ComposeView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule =
    Rule::new("port-merged-twice", Severity::Warning).checks(&[Check::Compose(check)]);

fn check(view: &ComposeView, checker: &mut Checker<'_>) {
    for service in services(view) {
        let Some(list) = service.get("ports") else {
            continue;
        };
        let (own, merged): (Vec<&Node>, Vec<&Node>) = list
            .items()
            .iter()
            .partition(|port| is_inside(&port.place, &list.place));
        for port in own {
            let Some(other) = merged.iter().find(|other| is_same_target(port, other)) else {
                continue;
            };
            let (name, target) = (service.name, port.text_of("target").unwrap_or_default());
            let message = format!(
                "port {target} of service `{name}` is published as {} and, from `{}`, as {}",
                published(port),
                other.place.source.name,
                published(other)
            );
            let help = "ports are added up when files are merged: `ports: !override` replaces them";
            checker.report(Finding::at(&port.place, message).help(help));
        }
    }
}

/// Whether a list of this place says it itself; what was merged into it stands elsewhere.
fn is_inside(item: &Place, list: &Place) -> bool {
    let span = list.span.start..=list.span.end;
    item.source.name == list.source.name && span.contains(&item.span.start)
}

fn is_same_target(one: &Node, other: &Node) -> bool {
    let same = |key: &str| one.text_of(key) == other.text_of(key);
    same("target") && same("protocol") && same("host_ip") && !same("published")
}

fn published(port: &Node) -> &str {
    port.text_of("published").unwrap_or("any port")
}
