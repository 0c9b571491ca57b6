//! Containers of the image run as root.
//!
//! ## Why
//! What breaks out of the program is root in the container then, one fault of the kernel or one mounted socket away
//! from being root on the host. Only the stage that ships is judged, through the stages it stands on; what its base
//! image says is read when the image is at hand. A last stage without any command is taken for one that is exported,
//! not run.
//!
//! ## Bad
//! ```dockerfile
//! FROM debian:12
//! COPY app /app
//! CMD ["/app"]
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM debian:12
//! COPY app /app
//! USER 10001
//! CMD ["/app"]
//! ```

use plimsoll_diagnostics::{Fix, Severity};
use plimsoll_dockerfile::InstructionKind;

use crate::facts::is_root;
use crate::rules::image::look;
use crate::view::{Base, DockerfileView, Stage, Step};
use crate::{Check, Checker, Finding, Rule};

use super::edits::insert_near_end;
use super::users;

pub(super) const RULE: Rule = Rule::new("user-root", Severity::Warning)
    .aliases(&[
        "DL3002",
        "CIS-DI-0001",
        "CIS-4.1",
        "DS-0002",
        "CKV_DOCKER_3",
        "CKV_DOCKER_8",
    ])
    .checks(&[Check::Dockerfile(check), Check::Image(look::user_root)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for stage in view.shipped() {
        let last = view.chain(stage).find_map(|one| {
            let mut steps = view.steps_of(one).rev();
            steps.find_map(|step| match step.kind() {
                InstructionKind::User(user) => Some((step, user)),
                _ => None,
            })
        });
        match last {
            Some((step, user)) => {
                let root = view.expand(step.at, user).is_some_and(|user| is_root(&user));
                if root {
                    let message = format!("the last USER is root: `{}`", user.value);
                    report(
                        view,
                        checker,
                        stage,
                        Finding::new(&view.source, user.span, message),
                    );
                }
            }
            None => without_user(view, checker, stage),
        }
    }
}

/// No USER: the base image decides.
fn without_user(view: &DockerfileView, checker: &mut Checker<'_>, stage: &Stage) {
    let Some(bottom) = view.chain(stage).last() else {
        return;
    };
    let span = view.from(bottom).image.span;
    let runs = |step: Step<'_>| {
        matches!(
            step.kind(),
            InstructionKind::Cmd(_) | InstructionKind::Entrypoint(_)
        )
    };
    let (message, severity) = match &bottom.base {
        Base::Scratch if view.chain(stage).any(|one| view.steps_of(one).any(runs)) => (
            "containers run as root: there is no USER".to_owned(),
            Severity::Warning,
        ),
        Base::Image(name) => match checker.workspace().image(name) {
            Some(image) if is_root(&image.config.config.user) => (
                format!("containers run as root: neither this file nor `{name}` says USER"),
                Severity::Warning,
            ),
            Some(_) => return,
            None => match users::of_image(name) {
                users::Runs::AsRoot => (
                    format!("containers run as root: there is no USER, and `{name}` sets none"),
                    Severity::Warning,
                ),
                users::Runs::Unknown => (
                    format!("containers run as root unless `{name}` says another user: there is no USER"),
                    Severity::Info,
                ),
                users::Runs::AsSomebody => return,
            },
        },
        _ => return,
    };
    report(
        view,
        checker,
        stage,
        Finding::new(&view.source, span, message).severity(severity),
    );
}

fn report(view: &DockerfileView, checker: &mut Checker<'_>, stage: &Stage, finding: Finding) {
    let finding = finding.help("write `USER` with a number before CMD: `USER 10001`");
    let lines = view
        .base_image(stage)
        .map_or(Some("USER 65532:65532".to_owned()), users::draft);
    checker.report(match lines {
        Some(lines) => finding.fix(insert_near_end(
            Fix::ask("run as a user without rights"),
            view,
            stage,
            &lines,
        )),
        None => finding,
    });
}
