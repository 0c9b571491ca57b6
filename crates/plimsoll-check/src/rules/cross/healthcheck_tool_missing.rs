//! A health check runs a program that the image does not have.
//!
//! ## Why
//! `curl` is in few images: not in `alpine`, `debian`, `node` or `python`. The check then fails every time, the container is
//! `unhealthy` for ever, and whoever waits for it waits in vain. Look with what the image has: `wget` of busybox, the language
//! it is for, or a mode of the program itself.
//!
//! ## Bad
//! ```dockerfile
//! FROM node:22-alpine
//! HEALTHCHECK CMD curl -f http://localhost:3000/health
//! CMD ["node", "server.js"]
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM node:22-alpine
//! HEALTHCHECK CMD wget -q -O /dev/null http://localhost:3000/health
//! CMD ["node", "server.js"]
//! ```

use plimsoll_compose_file::Node;
use plimsoll_diagnostics::Severity;
use plimsoll_dockerfile::{Command, HealthcheckInstruction, InstructionKind};

use super::tools::Tools;
use crate::facts::ImageFacts;
use crate::rules::compose::health::{dockerfile, stage};
use crate::rules::compose::service::{Service, services};
use crate::view::{DockerfileView, Workspace};
use crate::{Check, Checker, Finding, Rule};

pub(super) const RULE: Rule = Rule::new("healthcheck-tool-missing", Severity::Error).checks(&[
    Check::Dockerfile(in_dockerfile),
    Check::Cross(in_compose),
    Check::Image(in_image),
]);

fn in_dockerfile(view: &DockerfileView, checker: &mut Checker<'_>) {
    for shipped in view.shipped() {
        let steps = view.chain(shipped).flat_map(|stage| view.steps_of(stage).rev());
        let Some((step, command)) = steps.into_iter().find_map(|step| match step.kind() {
            InstructionKind::Healthcheck(HealthcheckInstruction::Command { command, .. }) => {
                Some((step, command))
            }
            _ => None,
        }) else {
            continue;
        };
        let test = match command {
            Command::Exec(words) => {
                let words = words.iter().map(|word| word.value.clone());
                std::iter::once("CMD".to_owned()).chain(words).collect()
            }
            Command::Shell(text) => vec!["CMD-SHELL".to_owned(), text.value.clone()],
        };
        let tools = Tools::of_stage(view, shipped, checker.workspace());
        if let Some(missing) = tools.lacks(&test) {
            let where_ = view.base_image(shipped).unwrap_or("scratch").to_owned();
            let message =
                format!("the health check runs `{missing}`, which is not in the image (from `{where_}`)");
            checker.report(Finding::new(&view.source, step.span(), message).help(tools.advice(&missing)));
        }
    }
}

fn in_compose(workspace: &Workspace, checker: &mut Checker<'_>) {
    for service in workspace.projects.iter().flat_map(services) {
        let Some(node) = service.at(&["healthcheck", "test"]) else {
            continue;
        };
        let test = match node.items() {
            [] => vec![
                "CMD-SHELL".to_owned(),
                node.as_text().unwrap_or_default().to_owned(),
            ],
            items => items
                .iter()
                .filter_map(Node::as_text)
                .map(str::to_owned)
                .collect(),
        };
        let Some(tools) = of_service(&service, workspace) else {
            continue;
        };
        if let Some(missing) = tools.lacks(&test) {
            let message = format!(
                "the health check of service `{}` runs `{missing}`, which is not in its image",
                service.name
            );
            checker.report(Finding::at(&node.place, message).help(tools.advice(&missing)));
        }
    }
}

fn of_service(service: &Service<'_>, workspace: &Workspace) -> Option<Tools> {
    if service.get("build").is_some() {
        let view = dockerfile(service, workspace)?;
        return Some(Tools::of_stage(view, stage(service, view)?, workspace));
    }
    Some(Tools::of_image(service.image()?.as_text()?, workspace))
}

fn in_image(image: &ImageFacts, checker: &mut Checker<'_>) {
    let Some(files) = &image.files else { return };
    let Some(check) = &image.config.config.healthcheck else {
        return;
    };
    let tools = Tools::known(files.programs.clone());
    if let Some(missing) = tools.lacks(&check.test) {
        let message = format!("the health check runs `{missing}`, which is not in the image");
        checker.report(crate::rules::image::look::finding(image, message).help(tools.advice(&missing)));
    }
}
