//! A service is not confined by the filters that others have.
//!
//! ## Why
//! The default system call filter and the profile of AppArmor or SELinux have stopped most ways out of containers before they
//! were known. A program that needs a call more than they allow is better off with a profile of its own.
//!
//! ## Bad
//! ```yaml
//! services:
//!   web:
//!     image: nginx:1.29
//!     security_opt:
//!       - seccomp:unconfined
//! ```
//!
//! ## Good
//! ```yaml
//! services:
//!   web:
//!     image: nginx:1.29
//!     security_opt:
//!       - seccomp:./seccomp.json
//! ```

use std::sync::Arc;

use plimsoll_compose_file::Node;
use plimsoll_diagnostics::{Fix, Severity, Span};

use super::edit;
use super::service::{Service, services};
use crate::view::ComposeView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("seccomp-off", Severity::Error)
    .aliases(&["CL-0009", "CIS-5.22", "CIS-5.1", "CIS-5.2"])
    .checks(&[Check::Compose(check)]);

fn check(view: &ComposeView, checker: &mut Checker<'_>) {
    for service in services(view) {
        for (option, node) in service.words("security_opt") {
            let what = match option.replace('=', ":").as_str() {
                "seccomp:unconfined" => "the system call filter",
                "apparmor:unconfined" => "the AppArmor profile",
                "label:disable" => "the SELinux label",
                "systempaths:unconfined" => "the masking of /proc and /sys",
                _ => continue,
            };
            let message = format!("service `{}` switches off {what}", service.name);
            let mut finding =
                Finding::at(&node.place, message).help("leave the option out, or name a profile of your own");
            if let Some(fix) = fix(&service, node) {
                finding = finding.fix(fix);
            }
            checker.report(finding);
        }
    }
}

/// Takes the line away, or the key with its only item.
fn fix(service: &Service<'_>, item: &Node) -> Option<Fix> {
    let fix = Fix::ask("leave it out");
    let entry = service.entry("security_opt")?;
    if entry.value.items().len() == 1 {
        return edit::remove(fix, entry);
    }
    let source = &item.place.source;
    let line = source.line_at(item.place.span.start);
    let before = source.slice(Span::new(line.start, item.place.span.start));
    let is_block = before.trim() == "-" && Arc::ptr_eq(&source.text, &entry.place.source.text);
    is_block.then(|| {
        fix.delete(
            source,
            Span::new(line.start, (line.end + 1).min(source.text.len())),
        )
    })
}
