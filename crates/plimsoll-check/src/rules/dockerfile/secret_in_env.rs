//! A secret is set in ENV or handed in by ARG, where everybody who has the image can read it.
//!
//! ## Why
//! ENV is part of the image's configuration, and the values of build arguments stand in its history. Values are judged
//! by what they are: an empty one, a path, a reference or a placeholder is no secret, whatever its name. They are never
//! printed.
//! An ARG without a value is judged by its name, for there is nothing else.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! ARG GITHUB_TOKEN
//! RUN git clone https://$GITHUB_TOKEN@github.com/acme/app
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! RUN --mount=type=secret,id=github_token,env=GITHUB_TOKEN \
//!     git clone https://$GITHUB_TOKEN@github.com/acme/app
//! ```

use plimsoll_diagnostics::{Fix, Severity, Span};
use plimsoll_dockerfile::{ArgDeclaration, InstructionKind, Word};

use crate::rules::image::look;
use crate::view::{DockerfileView, Step};
use crate::{Check, Checker, Finding, Rule};

use super::edits::remove;

pub(super) const RULE: Rule = Rule::new("secret-in-env", Severity::Error)
    .aliases(&[
        "DL3064",
        "SecretsUsedInArgOrEnv",
        "CIS-DI-0010",
        "CIS-4.10",
        "DS-0031",
    ])
    .checks(&[Check::Dockerfile(check), Check::Image(look::secret_in_env)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for step in view.steps() {
        match step.effective() {
            InstructionKind::Env(pairs) => pairs.iter().for_each(|pair| {
                report(
                    view,
                    checker,
                    &pair.key.value,
                    &pair.value,
                    "ENV, which is part of the image",
                );
            }),
            InstructionKind::Arg(declarations) => {
                declarations
                    .iter()
                    .for_each(|declaration| match &declaration.default {
                        Some(default) => report(
                            view,
                            checker,
                            &declaration.name.value,
                            default,
                            "ARG, which stays in the history",
                        ),
                        None if crate::secret::says_secret(&declaration.name.value) => {
                            handed_in(view, checker, step, declaration)
                        }
                        None => {}
                    })
            }
            _ => {}
        }
    }
}

fn report(view: &DockerfileView, checker: &mut Checker<'_>, name: &str, value: &Word, place: &str) {
    let Some(found) = crate::secret::of_variable(name, &value.value) else {
        return;
    };
    let start = value.span.start + found.span.start.min(value.span.len());
    let end = (value.span.start + found.span.end).clamp(start, value.span.end);
    let message = format!("`{name}` is {} in {place}", found.kind);
    checker.report(
        Finding::new(&view.source, Span::new(start, end), message)
            .secret(Span::new(start, end))
            .help("hand it over at run time, or for a RUN by `--mount=type=secret`; what was built or pushed with it has to be replaced"),
    );
}

fn handed_in(view: &DockerfileView, checker: &mut Checker<'_>, step: Step<'_>, declaration: &ArgDeclaration) {
    let name = &declaration.name.value;
    let message = format!("the value of build argument `{name}` stays in the history of the image");
    let help = format!(
        "mount it where it is needed: `RUN --mount=type=secret,id={},env={name}`",
        name.to_lowercase()
    );
    let finding = Finding::new(&view.source, declaration.name.span, message).help(help);
    checker.report(match mounted(view, step, name) {
        Some(fix) => finding.fix(fix),
        None => finding,
    });
}

/// A secret mount on every RUN that uses the argument, in place of the ARG; none where something else uses it.
fn mounted(view: &DockerfileView, step: Step<'_>, name: &str) -> Option<Fix> {
    let InstructionKind::Arg(declarations) = step.kind() else {
        return None;
    };
    let stage = step.stage.filter(|_| declarations.len() == 1)?;
    let uses = |step: &Step<'_>| {
        let text = &step.instruction.verbatim;
        text.contains(&format!("${name}")) || text.contains(&format!("${{{name}"))
    };
    let users: Vec<Step<'_>> = view
        .steps_of(stage)
        .filter(|other| other.at != step.at)
        .filter(uses)
        .collect();
    let only_runs = users
        .iter()
        .all(|user| matches!(user.kind(), InstructionKind::Run(_)));
    if users.is_empty() || !only_runs {
        return None;
    }
    let fix = remove(Fix::ask("mount it as a secret"), view, step.instruction);
    let mount = format!(" --mount=type=secret,id={},env={name}", name.to_lowercase());
    Some(users.iter().fold(fix, |fix, user| {
        fix.insert(&view.source, user.instruction.keyword.span.end, mount.clone())
    }))
}
