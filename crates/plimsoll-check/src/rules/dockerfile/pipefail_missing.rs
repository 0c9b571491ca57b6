//! A pipeline can fail without the RUN failing.
//!
//! ## Why
//! A shell looks at the last command of a pipeline only. When `curl` fails in `curl ... | tar x`, the build goes on and
//! the layer is cached. `set -o pipefail` says otherwise; dash does not know it, bash and busybox do. Pipelines whose
//! first commands cannot fail (`echo y | ...`) and those whose end is looked at (`... || true`) are left alone.
//!
//! ## Bad
//! ```dockerfile
//! FROM debian:12
//! RUN curl -fsSL https://example.com/a.tar.gz | tar -xz -C /opt
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM debian:12
//! SHELL ["/bin/bash", "-o", "pipefail", "-c"]
//! RUN curl -fsSL https://example.com/a.tar.gz | tar -xz -C /opt
//! ```

use plimsoll_diagnostics::{Fix, Severity};
use plimsoll_dockerfile::InstructionKind;

use crate::shell::ShellCommand;
use crate::view::{DockerfileView, Stage};
use crate::{Check, Checker, Finding, Rule};

use super::edits::insert_above;
use super::images::ImageName;
use super::runs::{RunStep, runs};

pub(super) const RULE: Rule = Rule::new("pipefail-missing", Severity::Warning)
    .aliases(&["DL4006"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    let mut mended: Option<usize> = None;
    for run in runs(view) {
        let Some(risky) = run.script.commands.iter().find(|command| is_risky(run, command)) else {
            continue;
        };
        let finding = Finding::new(&view.source, risky.pipeline.span, "only the end of this pipeline can fail the build")
            .help("write `SHELL [\"/bin/bash\", \"-o\", \"pipefail\", \"-c\"]` above, or begin with `set -o pipefail`");
        let stage = run.step.stage;
        let shell = stage
            .filter(|stage| mended != Some(stage.index))
            .and_then(|stage| shell_of(view, stage));
        let words = view.shell_words(run.step.at);
        checker.report(match shell {
            Some(shell) if words.is_none() && matches!(run.step.kind(), InstructionKind::Run(_)) => {
                mended = stage.map(|stage| stage.index);
                finding.fix(insert_above(
                    Fix::ask("set the shell"),
                    view,
                    run.step.instruction,
                    shell,
                ))
            }
            _ => finding,
        });
    }
}

fn is_risky(run: RunStep<'_>, command: &ShellCommand) -> bool {
    let place = command.place;
    let looked_at = place.rescued || place.condition || place.nested || place.background;
    let first = command.pipeline.index == 0 && command.pipeline.length > 1;
    if !first || looked_at || run.script.has_pipefail(command) {
        return false;
    }
    let parts = run
        .script
        .commands
        .iter()
        .filter(|other| other.pipeline.id == command.pipeline.id);
    let before_last = parts.filter(|other| other.pipeline.index + 1 < other.pipeline.length);
    let harmless =
        |part: &ShellCommand| matches!(part.program(), Some("echo" | "printf" | "yes" | "true" | ":"));
    !before_last.into_iter().all(harmless)
}

/// A shell that has pipefail and is surely there.
fn shell_of(view: &DockerfileView, stage: &Stage) -> Option<&'static str> {
    let image = ImageName::parse(view.base_image(stage)?);
    let variant = image.tag.unwrap_or_default();
    if image.official() == Some("alpine") || variant.contains("alpine") {
        return Some("SHELL [\"/bin/ash\", \"-eo\", \"pipefail\", \"-c\"]");
    }
    let with_bash = [
        "debian",
        "ubuntu",
        "node",
        "python",
        "golang",
        "ruby",
        "rust",
        "php",
        "openjdk",
        "eclipse-temurin",
        "buildpack-deps",
        "fedora",
        "rockylinux",
        "almalinux",
        "amazonlinux",
        "gcc",
        "maven",
        "perl",
    ];
    let known = image.official().is_some_and(|name| with_bash.contains(&name));
    known.then_some("SHELL [\"/bin/bash\", \"-o\", \"pipefail\", \"-c\"]")
}
