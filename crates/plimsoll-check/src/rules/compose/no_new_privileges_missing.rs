//! A program in a service may become another user.
//!
//! ## Why
//! Programs with the setuid bit (`su`, `mount`, `ping`) run as root, whoever calls them. With `no-new-privileges` they do not,
//! which ends most ways from a broken-into program to root. Only programs that need such helpers notice.
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
//!     security_opt:
//!       - no-new-privileges:true
//! ```

use plimsoll_diagnostics::{Fix, Severity};

use super::edit;
use super::service::services;
use crate::view::ComposeView;
use crate::{Check, Checker, Rule};

pub(super) const RULE: Rule = Rule::new("no-new-privileges-missing", Severity::Info)
    .aliases(&["CL-0003", "CIS-5.26"])
    .checks(&[Check::Compose(check)]);

const OPTION: &str = "no-new-privileges:true";

fn check(view: &ComposeView, checker: &mut Checker<'_>) {
    for service in services(view) {
        let is_set = |option: &str| {
            let option = option.replace('=', ":");
            option == "no-new-privileges" || option == OPTION
        };
        if service
            .words("security_opt")
            .iter()
            .any(|(option, _)| is_set(option))
        {
            continue;
        }
        let fix = Fix::ask("forbid new privileges");
        let fix = match service.get("security_opt") {
            Some(list) => edit::append_item(fix, list, OPTION),
            None => service.add(fix, &["security_opt:", "  - no-new-privileges:true"]),
        };
        let mut finding = service
            .finding(format!(
                "programs of service `{}` may become root by setuid",
                service.name
            ))
            .help("add `security_opt: [no-new-privileges:true]`");
        if let Some(fix) = fix {
            finding = finding.fix(fix);
        }
        checker.report(finding);
    }
}
