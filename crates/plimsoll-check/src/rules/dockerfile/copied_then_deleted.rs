//! A RUN deletes what a COPY has brought.
//!
//! ## Why
//! The file stays in the layer of the COPY: it takes its room and can be read by everybody who has the image. Leave it
//! out by `.dockerignore`, or mount it for the RUN that needs it.
//!
//! ## Bad
//! ```dockerfile
//! FROM node:22
//! WORKDIR /app
//! COPY . .
//! RUN rm -rf tests .git
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM node:22
//! WORKDIR /app
//! COPY package.json server.js ./
//! RUN --mount=type=bind,source=tests,target=/app/tests npm test
//! ```

use plimsoll_diagnostics::Severity;
use plimsoll_dockerfile::InstructionKind;

use crate::shell::ShellWord;
use crate::view::{DockerfileView, Stage, Step};
use crate::{Check, Checker, Finding, Rule};

use super::copies;
use super::runs::{RunStep, runs_of};

pub(super) const RULE: Rule =
    Rule::new("copied-then-deleted", Severity::Warning).checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for stage in view.shipped().flat_map(|stage| view.chain(stage)) {
        for run in runs_of(view, stage) {
            for ran in run
                .commands()
                .filter(|ran| ran.command.program() == Some("rm") && ran.command.always_runs())
            {
                for path in ran
                    .command
                    .operands(&[])
                    .filter(|path| path.expansions.is_empty())
                {
                    if let Some(copy) = brought(view, checker, stage, run, path) {
                        let message =
                            format!("`{}` stays in the layer of the COPY that brought it", path.text);
                        checker.report(
                            Finding::new(&view.source, path.span, message)
                                .help("leave it out by .dockerignore, or give it to the RUN that needs it by `--mount=type=bind`")
                                .label(copy.instruction.keyword.span, "this one brings it"),
                        );
                    }
                }
            }
        }
    }
}

/// The COPY that brings a path.
fn brought<'a>(
    view: &'a DockerfileView,
    checker: &Checker<'_>,
    stage: &'a Stage,
    run: RunStep<'_>,
    path: &ShellWord,
) -> Option<Step<'a>> {
    // After `cd`, relative paths mean something else.
    let moved = run.script.called("cd").any(|cd| cd.span.start < path.span.start);
    if moved && !path.text.starts_with('/') {
        return None;
    }
    let folder = copies::workdir(view, run.step.at)?;
    let target = copies::join(&folder, &path.text);
    let earlier = view.steps_of(stage).filter(|step| step.at < run.step.at);
    earlier.into_iter().rev().find(|step| {
        let (InstructionKind::Copy(copy) | InstructionKind::Add(copy)) = step.kind() else {
            return false;
        };
        let folder = copies::workdir(view, step.at).unwrap_or_else(|| "/".to_owned());
        let Some(destination) = view.expand(step.at, &copy.destination) else {
            return false;
        };
        let base = copies::join(&folder, &destination);
        copies::paths(&copy.sources).any(|source| {
            let name = source
                .value
                .trim_end_matches('/')
                .rsplit('/')
                .next()
                .unwrap_or_default();
            if !matches!(source.value.as_str(), "." | "./" | "/") {
                let file = match destination.ends_with('/') || destination == "." || copy.sources.len() > 1 {
                    true => copies::join(&base, name),
                    false => base.clone(),
                };
                return file == target && target != "/";
            }
            let inside = target
                .strip_prefix(base.trim_end_matches('/'))
                .and_then(|rest| rest.strip_prefix('/'));
            copy.from.is_none() && inside.is_some_and(|inside| is_sent(view, checker, inside))
        })
    })
}

/// Whether the context has it; where nobody can tell, whether it looks like something of the source.
fn is_sent(view: &DockerfileView, checker: &Checker<'_>, path: &str) -> bool {
    let context = checker.workspace().contexts_of(view).next();
    if let Some(context) = context {
        let path = path.trim_end_matches("/*");
        return context
            .entries
            .iter()
            .any(|entry| entry.sent && entry.path == path);
    }
    let first = path.split('/').next().unwrap_or_default();
    matches!(
        first,
        ".git"
            | ".github"
            | "test"
            | "tests"
            | "__tests__"
            | "spec"
            | "docs"
            | "doc"
            | "src"
            | "examples"
            | ".env"
            | "README.md"
            | "Dockerfile"
    )
}
