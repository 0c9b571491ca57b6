//! A RUN fetches or builds without a cache that outlives it.
//!
//! ## Why
//! When the step runs again, because one line of a manifest changed, everything is fetched once more. A cache mount
//! keeps what was fetched from build to build, and out of the image.
//!
//! ## Bad
//! ```dockerfile
//! FROM golang:1.24 AS build
//! WORKDIR /src
//! COPY go.mod go.sum ./
//! RUN go mod download
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM golang:1.24 AS build
//! WORKDIR /src
//! COPY go.mod go.sum ./
//! RUN --mount=type=cache,target=/go/pkg/mod go mod download
//! ```

use plimsoll_diagnostics::{Fix, Severity};
use plimsoll_dockerfile::InstructionKind;

use crate::shell::ShellCommand;
use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

use super::packages::pip_install;
use super::runs::runs;
use super::users;

pub(super) const RULE: Rule =
    Rule::new("cache-mount-missing", Severity::Info).checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for run in runs(view) {
        if run.has_cache() || run.script.shell.is_none() {
            continue;
        }
        let found = run.commands().find_map(|ran| Some((ran, caches(ran.command)?)));
        let Some((ran, targets)) = found else { continue };
        let mounts: Vec<String> = targets
            .iter()
            .map(|target| format!("--mount=type=cache,target={target}"))
            .collect();
        let mounts = mounts.join(" ");
        let name = ran.command.program().unwrap_or_default();
        let finding = Finding::new(
            &view.source,
            ran.command.span,
            format!("what `{name}` fetches is fetched again whenever this runs"),
        )
        .help(format!("mount a cache: `RUN {mounts}`"));
        let root = users::is_root_at(view, run.step.at);
        let mut fix = Fix::ask("mount a cache").insert(
            &view.source,
            run.step.instruction.keyword.span.end,
            format!(" {mounts}"),
        );
        if let Some(call) = pip_install(ran.command) {
            // So that `--no-cache-dir` is not added at the same time: it would make the cache useless.
            fix = fix.replace(&view.source, call.verb.span, "install");
        }
        checker.report(match root && matches!(run.step.kind(), InstructionKind::Run(_)) {
            true => finding.fix(fix),
            false => finding,
        });
    }
}

/// Where a program keeps what it fetches.
fn caches(command: &ShellCommand) -> Option<&'static [&'static str]> {
    if pip_install(command).is_some() {
        let told = command.has_flag(None, &["--no-cache-dir", "--cache-dir"]);
        return (!told).then_some(&["/root/.cache/pip"]);
    }
    let program = command.program()?;
    let verb = command.subcommand().unwrap_or_default();
    let targets: &[&str] = match (program, verb) {
        ("npm", "ci" | "install" | "i") => &["/root/.npm"],
        ("yarn", "" | "install") => &["/usr/local/share/.cache/yarn"],
        ("pnpm", "install" | "i") => &["/root/.local/share/pnpm/store"],
        ("go", "mod") => &["/go/pkg/mod"],
        ("go", "build" | "install" | "test") => &["/go/pkg/mod", "/root/.cache/go-build"],
        ("cargo", "build" | "install" | "fetch" | "test") => {
            &["/usr/local/cargo/registry", "/usr/local/cargo/git"]
        }
        ("mvn" | "mvnw", verb) if !verb.is_empty() => &["/root/.m2"],
        ("dotnet", "restore" | "publish" | "build") => &["/root/.nuget/packages"],
        ("composer", "install") => &["/root/.composer/cache"],
        ("uv", "sync" | "pip") => &["/root/.cache/uv"],
        _ => return None,
    };
    Some(targets)
}
