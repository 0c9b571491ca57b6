//! A service is to be built from a stage that its Dockerfile does not have.
//!
//! ## Why
//! `target:` of `build:` names a stage of the Dockerfile, by its name or number. A build with another word fails.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22 AS production
//! CMD ["sleep", "9"]
//! ```
//! ```yaml
//! services:
//!   web:
//!     build:
//!       context: .
//!       target: prodution
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22 AS production
//! CMD ["sleep", "9"]
//! ```
//! ```yaml
//! services:
//!   web:
//!     build:
//!       context: .
//!       target: production
//! ```

use plimsoll_diagnostics::{Fix, Severity, nearest};

use crate::rules::compose::health::dockerfile;
use crate::rules::compose::service::{services, written};
use crate::view::Workspace;
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule =
    Rule::new("compose-target-unknown", Severity::Error).checks(&[Check::Cross(check)]);

fn check(workspace: &Workspace, checker: &mut Checker<'_>) {
    for service in workspace.projects.iter().flat_map(services) {
        let (Some(view), Some(node)) = (dockerfile(&service, workspace), service.at(&["build", "target"]))
        else {
            continue;
        };
        let Some(target) = node.as_text().filter(|_| !view.is_foreign()) else {
            continue;
        };
        if view.stage_named(target, view.stages.len()).is_some() {
            continue;
        }
        let message = format!("there is no stage `{target}` in `{}`", view.source.name);
        let names: Vec<&str> = view
            .stages
            .iter()
            .filter_map(|stage| Some(stage.name.as_ref()?.value.as_str()))
            .collect();
        let mut finding = Finding::at(&node.place, message);
        finding = match nearest(target, names.iter().copied()) {
            Some(near) if written(node) == target => finding
                .help(format!("did you mean `{near}`?"))
                .fix(Fix::ask(format!("write `{near}`")).replace(&node.place.source, node.place.span, near)),
            Some(near) => finding.help(format!("did you mean `{near}`?")),
            None if names.is_empty() => finding.help("its stages have no names"),
            None => finding.help(format!("it has: `{}`", names.join("`, `"))),
        };
        checker.report(finding);
    }
}
