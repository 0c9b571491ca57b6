//! The whole context is copied before the dependencies are installed.
//!
//! ## Why
//! Any change to any file then installs all dependencies again. Copy the files that name them first, install, and copy
//! the rest after.
//!
//! ## Bad
//! ```dockerfile
//! FROM node:22
//! WORKDIR /app
//! COPY . .
//! RUN npm ci
//! CMD ["node", "server.js"]
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM node:22
//! WORKDIR /app
//! COPY package*.json ./
//! RUN npm ci
//! COPY . .
//! CMD ["node", "server.js"]
//! ```

use plimsoll_diagnostics::{Fix, Severity};
use plimsoll_dockerfile::InstructionKind;

use crate::shell::ShellCommand;
use crate::view::{DockerfileView, Step};
use crate::{Check, Checker, Finding, Rule};

use super::copies;
use super::edits::{insert_above, line_ending, remove};
use super::packages::pip_install;
use super::runs::{RunStep, runs_of};

pub(super) const RULE: Rule =
    Rule::new("cache-busting-copy", Severity::Warning).checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for stage in &view.stages {
        let mut copied: Option<Step<'_>> = None;
        for step in view.steps_of(stage) {
            if let InstructionKind::Copy(copy) | InstructionKind::Add(copy) = step.kind() {
                let whole = copies::paths(&copy.sources)
                    .any(|path| matches!(path.value.as_str(), "." | "./" | "/" | "*"));
                if whole && copy.from.is_none() && copied.is_none() {
                    copied = Some(step);
                }
                continue;
            }
            let Some(run) = runs_of(view, stage).find(|run| run.step.at == step.at) else {
                continue;
            };
            let Some((ran, manifest)) = run.commands().find_map(|ran| Some((ran, manifest(ran.command)?)))
            else {
                continue;
            };
            // Dependencies that were installed before the copy are in the cache.
            let Some(copy) = copied else { break };
            let finding = Finding::new(
                &view.source,
                copy.instruction.keyword.span,
                "every change to any file installs the dependencies again",
            )
            .help(format!(
                "copy `{manifest}` first, install, and copy the rest after"
            ))
            .label(ran.command.span, "they are installed here");
            checker.report(match reordered(view, copy, run, &manifest) {
                Some(fix) => finding.fix(fix),
                None => finding,
            });
            break;
        }
    }
}

/// The files that say what is installed.
fn manifest(command: &ShellCommand) -> Option<String> {
    if let Some(call) = pip_install(command) {
        let file = command.flag_value(&["-r", "--requirement"])?;
        return (call.operands.is_empty() && !file.contains('$')).then(|| file.to_owned());
    }
    let program = command.program()?;
    let operands: Vec<&str> = command.operands(&[]).map(|word| word.text.as_str()).collect();
    let files = match (program, operands.as_slice()) {
        ("npm", ["ci" | "install" | "i"]) => "package*.json",
        ("yarn", [] | ["install"]) => "package.json yarn.lock",
        ("pnpm", ["install" | "i"]) => "package.json pnpm-lock.yaml",
        ("go", ["mod", "download"]) => "go.mod go.sum",
        ("bundle", ["install"]) => "Gemfile Gemfile.lock",
        ("composer", ["install"]) => "composer.json composer.lock",
        ("poetry", ["install"]) => "pyproject.toml poetry.lock",
        ("uv", ["sync"]) => "pyproject.toml uv.lock",
        ("cargo", ["fetch"]) => "Cargo.toml Cargo.lock",
        ("mix", ["deps.get"]) => "mix.exs mix.lock",
        _ => return None,
    };
    Some(files.to_owned())
}

/// The files and the RUN above the COPY; only where the RUN does nothing else.
fn reordered(view: &DockerfileView, copy: Step<'_>, run: RunStep<'_>, manifest: &str) -> Option<Fix> {
    let InstructionKind::Copy(what) = copy.kind() else {
        return None;
    };
    let alone = run.script.commands.len() == 1 && run.run.heredocs.is_empty();
    let between = (copy.at + 1..run.step.at).all(|at| {
        !matches!(
            view.step(at).kind(),
            InstructionKind::Workdir(_) | InstructionKind::Run(_) | InstructionKind::User(_)
        )
    });
    let only = copies::paths(&what.sources).count() == 1;
    if !alone || !between || !only || !matches!(run.step.kind(), InstructionKind::Run(_)) {
        return None;
    }
    let ending = line_ending(&view.source);
    let target = what.destination.value.trim_end_matches('/');
    let flags = what
        .chown
        .as_ref()
        .map_or(String::new(), |owner| format!("--chown={} ", owner.value));
    let install = view.source.slice(run.step.span());
    let lines = format!("COPY {flags}{manifest} {target}/{ending}{install}");
    let fix = remove(
        Fix::ask("install the dependencies first"),
        view,
        run.step.instruction,
    );
    Some(insert_above(fix, view, copy.instruction, &lines))
}
