//! A service publishes a port that its image does not listen on.
//!
//! ## Why
//! EXPOSE is how an image says where it listens. A published port that is none of them answers nobody; often the two sides of
//! `8080:80` are swapped.
//!
//! ## Bad
//! ```dockerfile
//! FROM node:22-slim
//! EXPOSE 3000
//! CMD ["node", "server.js"]
//! ```
//! ```yaml
//! services:
//!   web:
//!     build: .
//!     ports: ["3000:8080"]
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM node:22-slim
//! EXPOSE 3000
//! CMD ["node", "server.js"]
//! ```
//! ```yaml
//! services:
//!   web:
//!     build: .
//!     ports: ["8080:3000"]
//! ```

use plimsoll_diagnostics::Severity;
use plimsoll_dockerfile::InstructionKind;

use crate::rules::compose::health::{dockerfile, stage};
use crate::rules::compose::service::{Service, services};
use crate::view::{DockerfileView, Stage, Workspace};
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule =
    Rule::new("compose-port-not-exposed", Severity::Info).checks(&[Check::Cross(check)]);

fn check(workspace: &Workspace, checker: &mut Checker<'_>) {
    for service in workspace.projects.iter().flat_map(services) {
        // Whoever sets the command may set the port with it.
        if service.get("command").is_some()
            || service.get("entrypoint").is_some()
            || service.get("expose").is_some()
        {
            continue;
        }
        let Some(exposed) = exposed(&service, workspace).filter(|ports| !ports.is_empty()) else {
            continue;
        };
        for port in service.ports() {
            let Some(target) = port.target.filter(|target| !exposed.contains(target)) else {
                continue;
            };
            let names: Vec<_> = exposed.iter().map(u16::to_string).collect();
            let message = format!(
                "service `{}` publishes port {target}, but its image listens on {}",
                service.name,
                names.join(", ")
            );
            checker.report(
                Finding::at(&port.node.place, message).help("the container's port is the one on the right"),
            );
        }
    }
}

/// The ports that what the service runs says it listens on; none where one of them cannot be read.
fn exposed(service: &Service<'_>, workspace: &Workspace) -> Option<Vec<u16>> {
    if service.get("build").is_some() {
        let view = dockerfile(service, workspace)?;
        return of_stage(view, stage(service, view)?);
    }
    let image = workspace.image(service.image()?.as_text()?)?;
    let ports = image.config.config.exposed_ports.as_ref()?;
    ports.keys().map(|port| number(port)).collect()
}

fn of_stage(view: &DockerfileView, stage: &Stage) -> Option<Vec<u16>> {
    let mut ports = Vec::new();
    for stage in view.chain(stage) {
        for step in view.steps_of(stage) {
            let InstructionKind::Expose(words) = step.kind() else {
                continue;
            };
            for word in words {
                ports.push(number(&view.expand(step.at, word)?)?);
            }
        }
    }
    ports.sort_unstable();
    ports.dedup();
    Some(ports)
}

fn number(port: &str) -> Option<u16> {
    port.split('/').next()?.parse().ok()
}
