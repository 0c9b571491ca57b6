//! A service may take all of the machine.
//!
//! ## Why
//! Without a limit of memory one leak makes the kernel kill other programs; without one of processor time one loop slows down
//! all neighbours; without one of processes a fork bomb stops the host. Both spellings count: `mem_limit`, `cpus`,
//! `pids_limit`, and `deploy.resources.limits`. The values of the fix are drafts: look at `plimsoll stats` under load.
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
//!     mem_limit: 512m
//!     cpus: 1
//!     pids_limit: 256
//! ```

use plimsoll_diagnostics::{Fix, Severity};

use super::edit;
use super::service::{Service, services};
use crate::view::ComposeView;
use crate::{Check, Checker, Rule};

pub(super) const RULE: Rule = Rule::new("limits-missing", Severity::Warning)
    .aliases(&["CL-0026", "CIS-5.11", "CIS-5.12", "CIS-5.29"])
    .checks(&[Check::Compose(check)]);

struct Limit {
    what: &'static str,
    keys: &'static [&'static str],
    /// Its name below `deploy.resources.limits`.
    deploy: &'static str,
    draft: &'static str,
    deploy_draft: &'static str,
}

const LIMITS: [Limit; 3] = [
    Limit {
        what: "memory",
        keys: &["mem_limit"],
        deploy: "memory",
        draft: "mem_limit: 512m  # draft: measure what it needs",
        deploy_draft: "memory: 512M  # draft: measure what it needs",
    },
    Limit {
        what: "processor time",
        keys: &["cpus", "cpu_quota", "cpuset"],
        deploy: "cpus",
        draft: "cpus: 1  # draft: measure what it needs",
        deploy_draft: "cpus: \"1\"  # draft: measure what it needs",
    },
    Limit {
        what: "processes",
        keys: &["pids_limit"],
        deploy: "pids",
        draft: "pids_limit: 256  # draft: measure what it needs",
        deploy_draft: "pids: 256  # draft: measure what it needs",
    },
];

fn check(view: &ComposeView, checker: &mut Checker<'_>) {
    for service in services(view) {
        let missing: Vec<&Limit> = LIMITS.iter().filter(|limit| !has(&service, limit)).collect();
        if missing.is_empty() {
            continue;
        }
        let what: Vec<_> = missing.iter().map(|limit| limit.what).collect();
        let mut finding = service
            .finding(format!(
                "service `{}` has no limit of {}",
                service.name,
                what.join(", ")
            ))
            .help("set `mem_limit`, `cpus` and `pids_limit`, or `deploy.resources.limits`");
        if let Some(fix) = fix(&service, &missing) {
            finding = finding.fix(fix);
        }
        checker.report(finding);
    }
}

fn has(service: &Service<'_>, limit: &Limit) -> bool {
    limit.keys.iter().any(|key| service.get(key).is_some())
        || service
            .at(&["deploy", "resources", "limits", limit.deploy])
            .is_some()
}

/// In the spelling that the service uses already: the two must not contradict each other.
fn fix(service: &Service<'_>, missing: &[&Limit]) -> Option<Fix> {
    let fix = Fix::ask("add limits");
    match service.at(&["deploy", "resources", "limits"]) {
        Some(limits) => {
            let lines: Vec<_> = missing.iter().map(|limit| limit.deploy_draft).collect();
            edit::append(fix, limits, &lines)
        }
        None => {
            let lines: Vec<_> = missing.iter().map(|limit| limit.draft).collect();
            service.add(fix, &lines)
        }
    }
}
