//! A service can change its own program.
//!
//! ## Why
//! Whoever breaks into a service whose root file system is read-only cannot leave anything behind and cannot replace the
//! program. What the program writes goes to volumes and to `tmpfs:`. The folders of the fix are a draft: those that are known
//! for the image, or `/tmp`.
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
//!     read_only: true
//!     tmpfs:
//!       - /var/cache/nginx
//!       - /run
//!       - /tmp
//! ```

use plimsoll_diagnostics::{Fix, Severity};

use super::service::{Service, services};
use crate::view::ComposeView;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("read-only-missing", Severity::Info)
    .aliases(&["CL-0007", "CIS-5.13"])
    .checks(&[Check::Compose(check)]);

fn check(view: &ComposeView, checker: &mut Checker<'_>) {
    for service in services(view) {
        let help = "add `read_only: true`, with `tmpfs:` for what the program writes";
        let message = format!("service `{}` can write to its root file system", service.name);
        let finding = match service.entry("read_only") {
            Some(entry) if entry.value.is_true() => continue,
            Some(entry) => {
                let fix = Fix::ask("make it read-only").replace(
                    &entry.value.place.source,
                    entry.value.place.span,
                    "true",
                );
                Finding::at(&entry.value.place, message).fix(fix)
            }
            None => match fix(&service) {
                Some(fix) => service.finding(message).fix(fix),
                None => service.finding(message),
            },
        };
        checker.report(finding.help(help));
    }
}

fn fix(service: &Service<'_>) -> Option<Fix> {
    let mut lines = vec!["read_only: true  # draft: see that it still starts".to_owned()];
    if service.get("tmpfs").is_none() {
        lines.push("tmpfs:".to_owned());
        let folders = service
            .software()
            .map_or(&["/tmp"][..], |software| software.writes);
        lines.extend(folders.iter().map(|folder| format!("  - {folder}")));
    }
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    service.add(Fix::ask("make it read-only"), &lines)
}
