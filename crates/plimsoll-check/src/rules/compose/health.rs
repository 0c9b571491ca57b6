//! What a service runs: the stage of its Dockerfile, its user and its health check, as far as that is known.

use camino::{Utf8Path, Utf8PathBuf};
use plimsoll_dockerfile::{HealthcheckInstruction, InstructionKind};

use super::service::Service;
use crate::facts::ImageFacts;
use crate::view::{ComposeView, DockerfileView, Stage, Workspace};

/// The Dockerfile that a service is built from.
pub(in crate::rules) fn dockerfile<'a>(
    service: &Service<'_>,
    workspace: &'a Workspace,
) -> Option<&'a DockerfileView> {
    let build = service.get("build")?;
    if build.get("dockerfile_inline").is_some() {
        return None;
    }
    let context = Utf8Path::new(build.text_of("context")?);
    let path = context.join(build.text_of("dockerfile").unwrap_or("Dockerfile"));
    workspace.dockerfile(&absolute(&path))
}

/// The stage of it that the service is.
pub(in crate::rules) fn stage<'a>(service: &Service<'_>, view: &'a DockerfileView) -> Option<&'a Stage> {
    match service
        .at(&["build", "target"])
        .and_then(|target| target.as_text())
    {
        Some(target) => view.stage_named(target, view.stages.len()),
        None => view.stages.last(),
    }
}

/// Whether what the service runs has a health check of its own; none where nobody can tell.
pub(in crate::rules) fn of_image(
    _view: &ComposeView,
    service: &Service<'_>,
    workspace: &Workspace,
) -> Option<bool> {
    if service.get("build").is_some() {
        let view = dockerfile(service, workspace)?;
        return of_stage(view, stage(service, view)?, workspace);
    }
    let name = service.image()?.as_text()?;
    match workspace.image(name) {
        Some(image) => Some(image.has_healthcheck()),
        // The official images of databases and servers leave it to whoever runs them.
        None if is_official(name) && service.software().is_some() => Some(false),
        None => None,
    }
}

/// The same for a stage: its own instruction, or those of what it stands on.
pub(in crate::rules) fn of_stage(
    view: &DockerfileView,
    stage: &Stage,
    workspace: &Workspace,
) -> Option<bool> {
    for stage in view.chain(stage) {
        let last = view.steps_of(stage).rev().find_map(|step| match step.kind() {
            InstructionKind::Healthcheck(HealthcheckInstruction::None) => Some(false),
            InstructionKind::Healthcheck(_) => Some(true),
            _ => None,
        });
        if last.is_some() {
            return last;
        }
    }
    match view.base_image(stage) {
        Some(base) => workspace
            .image(base)
            .map(ImageFacts::has_healthcheck)
            .or_else(|| {
                // Bases of languages and distributions have none.
                is_official(base).then_some(false)
            }),
        None => Some(false),
    }
}

/// The user that what the service runs says; none where nobody can tell.
pub(in crate::rules) fn user(service: &Service<'_>, workspace: &Workspace) -> Option<String> {
    if service.get("build").is_none() {
        let image = workspace.image(service.image()?.as_text()?)?;
        return Some(image.config.config.user.clone());
    }
    let view = dockerfile(service, workspace)?;
    let stage = stage(service, view)?;
    for stage in view.chain(stage) {
        let last = view.steps_of(stage).rev().find_map(|step| match step.kind() {
            InstructionKind::User(user) => Some(view.expand(step.at, user)),
            _ => None,
        });
        if let Some(user) = last {
            return user;
        }
    }
    let base = workspace.image(view.base_image(stage)?)?;
    Some(base.config.config.user.clone())
}

fn is_official(name: &str) -> bool {
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    let name = name.strip_prefix("library/").unwrap_or(name);
    !name.contains('/')
}

/// Without `.` and `..`; links stay as they are.
fn absolute(path: &Utf8Path) -> Utf8PathBuf {
    let mut out = Utf8PathBuf::new();
    for part in path.components() {
        match part.as_str() {
            "." => {}
            ".." => {
                out.pop();
            }
            part => out.push(part),
        }
    }
    out
}
