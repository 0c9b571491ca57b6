//! A service is told to run as root.
//!
//! ## Why
//! `user: root` overrides whatever the image has chosen. A program that is broken into is then root in its container, one
//! kernel bug away from the host.
//!
//! ## Bad
//! ```yaml
//! services:
//!   web:
//!     image: example/web:2
//!     user: root
//! ```
//!
//! ## Good
//! ```yaml
//! services:
//!   web:
//!     image: example/web:2
//!     user: "65532:65532"
//! ```

use plimsoll_diagnostics::{Fix, Severity};

use super::edit;
use super::health;
use super::service::services;
use crate::facts::is_root;
use crate::view::ComposeView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("compose-user-root", Severity::Warning)
    .aliases(&["CL-0018"])
    .checks(&[Check::Compose(check)]);

fn check(view: &ComposeView, checker: &mut Checker<'_>) {
    for service in services(view) {
        let Some(entry) = service.entry("user") else {
            continue;
        };
        if !entry.value.as_text().is_some_and(is_root) {
            continue;
        }
        let message = format!("service `{}` runs as root", service.name);
        let mut finding =
            Finding::at(&entry.value.place, message).help("leave `user:` to the image, or name another");
        let own = health::user(&service, checker.workspace());
        let fix = match own.is_some_and(|user| !is_root(&user)) {
            true => edit::remove(Fix::ask("let it run as the image's user"), entry),
            false => {
                let (source, span) = (&entry.value.place.source, entry.value.place.span);
                Some(Fix::ask("run as nobody in particular").replace(source, span, "\"65532:65532\""))
            }
        };
        if let Some(fix) = fix {
            finding = finding.fix(fix);
        }
        checker.report(finding);
    }
}
