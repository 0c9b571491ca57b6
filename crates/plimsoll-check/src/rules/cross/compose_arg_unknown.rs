//! A service gives its build an argument that the Dockerfile does not declare.
//!
//! ## Why
//! An argument without `ARG` of its name has no effect at all: often it is misspelt, and the default is used instead.
//!
//! ## Bad
//! ```dockerfile
//! ARG NODE_VERSION=22
//! FROM node:$NODE_VERSION-slim
//! ```
//! ```yaml
//! services:
//!   web:
//!     build:
//!       context: .
//!       args:
//!         NODE_VERSIN: "24"
//! ```
//!
//! ## Good
//! ```dockerfile
//! ARG NODE_VERSION=22
//! FROM node:$NODE_VERSION-slim
//! ```
//! ```yaml
//! services:
//!   web:
//!     build:
//!       context: .
//!       args:
//!         NODE_VERSION: "24"
//! ```

use plimsoll_compose_file::Node;
use plimsoll_diagnostics::{Severity, nearest};
use plimsoll_dockerfile::InstructionKind;

use crate::rules::compose::health::dockerfile;
use crate::rules::compose::service::services;
use crate::view::{DockerfileView, Workspace};
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule =
    Rule::new("compose-arg-unknown", Severity::Warning).checks(&[Check::Cross(check)]);

/// What every build knows without a declaration.
const PREDEFINED: [&str; 8] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "SOURCE_DATE_EPOCH",
    "BUILDPLATFORM",
    "TARGETPLATFORM",
];

fn check(workspace: &Workspace, checker: &mut Checker<'_>) {
    for service in workspace.projects.iter().flat_map(services) {
        let Some(view) = dockerfile(&service, workspace).filter(|view| !view.is_foreign()) else {
            continue;
        };
        let declared = declared(view);
        let given = service.at(&["build", "args"]).map_or(&[][..], Node::entries);
        for entry in given {
            let name = entry.key.as_str();
            let is_known = declared.contains(&name)
                || PREDEFINED.iter().any(|known| known.eq_ignore_ascii_case(name))
                || name.starts_with("BUILDKIT_");
            if is_known {
                continue;
            }
            let message = format!(
                "`{}` declares no `ARG {name}`: it has no effect",
                view.source.name
            );
            let finding = Finding::at(&entry.place, message);
            checker.report(match nearest(name, declared.iter().copied()) {
                Some(near) => finding.help(format!("did you mean `{near}`?")),
                None => finding.help("declare it with ARG, or take it out"),
            });
        }
    }
}

fn declared(view: &DockerfileView) -> Vec<&str> {
    let arguments = view.steps().filter_map(|step| match step.kind() {
        InstructionKind::Arg(declarations) => Some(declarations),
        _ => None,
    });
    arguments
        .flatten()
        .map(|declaration| declaration.name.value.as_str())
        .collect()
}
