//! A service keeps capabilities that it does not need.
//!
//! ## Why
//! A container has fourteen capabilities of root by default, among them to change owners, to listen on low ports and to send
//! raw packets. Most programs need none. Drop all, and add those that are missed: the draft of the fix adds what the image is
//! known to need.
//!
//! ## Bad
//! ```yaml
//! services:
//!   web:
//!     image: nginx:1.29
//! ```
//!
//! ## Good
//! ```yaml
//! services:
//!   web:
//!     image: nginx:1.29
//!     cap_drop: [ALL]
//!     cap_add: [CHOWN, NET_BIND_SERVICE, SETGID, SETUID]
//! ```

use plimsoll_diagnostics::{Fix, Severity};

use super::service::{Service, services};
use crate::view::ComposeView;
use crate::{Check, Checker, Rule};

pub(super) const RULE: Rule = Rule::new("cap-drop-missing", Severity::Info)
    .aliases(&["CL-0006", "CIS-5.4"])
    .checks(&[Check::Compose(check)]);

fn check(view: &ComposeView, checker: &mut Checker<'_>) {
    for service in services(view) {
        let drops_all = service
            .words("cap_drop")
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("all"));
        // A privileged one has another rule; there, dropping changes nothing.
        if drops_all
            || service
                .get("privileged")
                .is_some_and(|privileged| privileged.is_true())
        {
            continue;
        }
        let mut finding = service
            .finding(format!(
                "service `{}` does not drop its capabilities",
                service.name
            ))
            .help("add `cap_drop: [ALL]`, and `cap_add:` for what the program is found to need");
        if let Some(fix) = fix(&service) {
            finding = finding.fix(fix);
        }
        checker.report(finding);
    }
}

fn fix(service: &Service<'_>) -> Option<Fix> {
    if service.get("cap_drop").is_some() {
        return None;
    }
    let mut lines = vec!["cap_drop: [ALL]  # draft: see that it still starts".to_owned()];
    let needed = service
        .software()
        .map_or(&[][..], |software| software.capabilities);
    if !needed.is_empty() && service.get("cap_add").is_none() {
        lines.push(format!("cap_add: [{}]", needed.join(", ")));
    }
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    service.add(Fix::ask("drop all capabilities"), &lines)
}
