//! What builds the program is in the image that ships.
//!
//! ## Why
//! Compilers, headers and development packages are most of such an image, and most of what a scanner will find in it.
//! Build in a stage of its own, and copy the result into a small one.
//!
//! ## Bad
//! ```dockerfile
//! FROM golang:1.24
//! WORKDIR /src
//! COPY . .
//! RUN go build -o /app .
//! CMD ["/app"]
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM golang:1.24 AS build
//! WORKDIR /src
//! COPY . .
//! RUN CGO_ENABLED=0 go build -o /app .
//!
//! FROM gcr.io/distroless/static-debian12:nonroot
//! COPY --from=build /app /app
//! CMD ["/app"]
//! ```

use plimsoll_diagnostics::{Severity, Span};
use plimsoll_dockerfile::InstructionKind;

use crate::rules::image::look;
use crate::view::{DockerfileView, Stage, Variable};
use crate::{Check, Checker, Finding, Rule};

use super::images::ImageName;
use super::packages::{APK, APT, DNF, NPM, YUM};
use super::runs::{Ran, RunStep, runs_of};

pub(super) const RULE: Rule = Rule::new("single-stage-build", Severity::Warning)
    .aliases(&["CIS-4.3"])
    .checks(&[Check::Dockerfile(check), Check::Image(look::build_tools)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for stage in view.shipped() {
        let runs = view.chain(stage).any(|one| {
            view.steps_of(one).any(|step| {
                matches!(
                    step.kind(),
                    InstructionKind::Cmd(_) | InstructionKind::Entrypoint(_)
                )
            })
        });
        // A toolbox, or what is only exported, is no program that ships.
        if !runs {
            continue;
        }
        if let Some((span, message)) = compiler(view, stage)
            .or_else(|| tools(view, stage))
            .or_else(|| development(view, stage))
        {
            checker.report(
                Finding::new(&view.source, span, message)
                    .help("build in a stage of its own, and `COPY --from` it what runs"),
            );
        }
    }
}

/// The base image is a compiler.
fn compiler(view: &DockerfileView, stage: &Stage) -> Option<(Span, String)> {
    let bottom = view.chain(stage).last()?;
    let name = view.base_image(stage)?;
    let image = ImageName::parse(name);
    let tag = image.tag.unwrap_or_default();
    let builds = match image.official() {
        Some("golang" | "rust" | "gcc" | "maven" | "gradle" | "haskell" | "swift" | "buildpack-deps") => true,
        Some("eclipse-temurin" | "amazoncorretto" | "openjdk" | "ibm-semeru-runtimes") => tag.contains("jdk"),
        _ => image.path.ends_with("dotnet/sdk"),
    };
    builds.then(|| {
        (
            view.from(bottom).image.span,
            format!("`{name}` is made to build programs, and all of it ships"),
        )
    })
}

/// A RUN installs compilers and does not take them away again.
fn tools(view: &DockerfileView, stage: &Stage) -> Option<(Span, String)> {
    const TOOLS: [&str; 14] = [
        "build-essential",
        "gcc",
        "g++",
        "clang",
        "make",
        "cmake",
        "build-base",
        "gcc-c++",
        "cargo",
        "rustc",
        "golang",
        "golang-go",
        "default-jdk",
        "maven",
    ];
    view.chain(stage)
        .flat_map(|one| runs_of(view, one))
        .find_map(|run| {
            let removed = run.commands().any(|ran| {
                let apt = APT.call(ran.command, &["purge", "remove", "autoremove"]);
                apt.or_else(|| APK.call(ran.command, &["del"]))
                    .or_else(|| DNF.call(ran.command, &["remove"]))
                    .is_some()
            });
            if removed {
                return None;
            }
            run.commands().find_map(|ran| {
                let call = APT
                    .call(ran.command, &["install"])
                    .or_else(|| APK.call(ran.command, &["add"]));
                let call = call
                    .or_else(|| YUM.call(ran.command, &["install"]))
                    .or_else(|| DNF.call(ran.command, &["install"]))?;
                let tool = call
                    .operands
                    .into_iter()
                    .find(|word| TOOLS.contains(&word.text.split('=').next().unwrap_or_default()))?;
                Some((
                    tool.span,
                    format!("`{}` is installed in the stage that ships", tool.text),
                ))
            })
        })
}

/// npm installs what only the build needs.
fn development(view: &DockerfileView, stage: &Stage) -> Option<(Span, String)> {
    let own: Vec<Ran<'_>> = view
        .chain(stage)
        .flat_map(|one| runs_of(view, one))
        .flat_map(RunStep::commands)
        .collect();
    let pruned = own.iter().any(|ran| {
        ran.command.program() == Some("npm") && matches!(ran.command.subcommand(), Some("prune"))
            || ran
                .command
                .args()
                .iter()
                .any(|word| word.text == "node_modules" || word.text.ends_with("/node_modules"))
    });
    own.iter().filter(|_| !pruned).find_map(|ran| {
        let call = NPM.call(ran.command, &["ci", "install", "i"])?;
        let without = [
            "--omit",
            "--production",
            "--only",
            "-g",
            "--global",
            "--prod",
            "--omit=dev",
        ];
        let environment =
            view.variable(ran.of.step.at, "NODE_ENV") == Variable::Known("production".to_owned());
        let own = ran.command.assignments.iter().any(|one| one.name == "NODE_ENV");
        if ran.command.has_flag(None, &without) || environment || own || !call.operands.is_empty() {
            return None;
        }
        Some((
            ran.command.span,
            "dependencies that only development needs ship with the program".to_owned(),
        ))
    })
}
