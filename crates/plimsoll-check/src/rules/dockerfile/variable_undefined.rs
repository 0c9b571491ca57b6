//! An instruction uses a variable that nothing declares.
//!
//! ## Why
//! It is empty then. Arguments declared above the first FROM do not reach into a stage unless it repeats them. What the
//! base image sets is read when the image is at hand; otherwise only names that look like slips are reported.
//!
//! ## Bad
//! ```dockerfile
//! FROM alpine:3.22
//! ARG VERSION=1
//! LABEL version=$VERSOIN
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM alpine:3.22
//! ARG VERSION=1
//! LABEL version=$VERSION
//! ```

use plimsoll_diagnostics::{Fix, Severity, nearest};
use plimsoll_dockerfile::{InstructionKind, Word};

use crate::view::{Base, DockerfileView, Stage, Step};
use crate::{Check, Checker, Finding, Rule};

use super::copies;
use super::edits::insert_above;
use super::variables;

pub(super) const RULE: Rule = Rule::new("variable-undefined", Severity::Warning)
    .aliases(&["UndefinedVar"])
    .checks(&[Check::Dockerfile(check)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for stage in &view.stages {
        let base = base_environment(view, stage, checker);
        for step in view.steps_of(stage) {
            for word in words(step.kind()) {
                for used in variables::undefined(view, step.at, word) {
                    if !is_set_by_base(&base, &used.name) {
                        report(view, checker, step, &used, base.is_some());
                    }
                }
            }
        }
    }
}

fn report(
    view: &DockerfileView,
    checker: &mut Checker<'_>,
    step: Step<'_>,
    used: &variables::Used,
    certain: bool,
) {
    let finding = Finding::new(
        &view.source,
        used.span,
        format!("usage of undefined variable `${}`", used.name),
    );
    let globals = view
        .dockerfile
        .instructions
        .iter()
        .map_while(|instruction| match &instruction.kind {
            InstructionKind::Arg(declarations) => Some(declarations),
            _ => None,
        });
    if globals
        .flatten()
        .any(|declaration| declaration.name.value == used.name)
    {
        let line = format!("ARG {}", used.name);
        let help =
            format!("arguments above the first FROM do not reach into stages: write `{line}` in this one");
        let fix = insert_above(Fix::ask("declare it in the stage"), view, step.instruction, &line);
        checker.report(finding.help(help).fix(fix));
    } else if let Some(near) = nearest(&used.name, view.variables_at(step.at)).filter(|_| used.name.len() > 3)
    {
        let fix = Fix::safe("write its name").replace(&view.source, used.name_span, near);
        checker.report(finding.help(format!("did you mean `${near}`?")).fix(fix));
    } else if certain {
        checker.report(finding.help(format!(
            "declare it by ARG or ENV, or write `${{{}:-}}` where empty is meant",
            used.name
        )));
    }
}

/// The names that the base image sets; none when the image is not at hand.
fn base_environment(view: &DockerfileView, stage: &Stage, checker: &Checker<'_>) -> Option<Vec<String>> {
    let bottom = view.chain(stage).last()?;
    match &bottom.base {
        Base::Scratch => Some(vec!["PATH".to_owned()]),
        Base::Image(name) => {
            let image = checker.workspace().image(name)?;
            let names = image
                .config
                .config
                .env
                .iter()
                .filter_map(|pair| pair.split('=').next());
            Some(names.map(str::to_owned).chain(["PATH".to_owned()]).collect())
        }
        _ => None,
    }
}

fn is_set_by_base(base: &Option<Vec<String>>, name: &str) -> bool {
    let always =
        matches!(name, "PATH" | "HOME" | "HOSTNAME" | "PWD") || name.to_ascii_lowercase().ends_with("_proxy");
    always || base.iter().flatten().any(|own| own == name)
}

/// The words whose variables the builder replaces.
fn words(kind: &InstructionKind) -> Vec<&Word> {
    match kind {
        InstructionKind::Env(pairs) | InstructionKind::Label(pairs) => {
            pairs.iter().map(|pair| &pair.value).collect()
        }
        InstructionKind::Arg(declarations) => declarations
            .iter()
            .filter_map(|one| one.default.as_ref())
            .collect(),
        InstructionKind::Expose(words) | InstructionKind::Volume(words) => words.iter().collect(),
        InstructionKind::User(word) | InstructionKind::Workdir(word) | InstructionKind::Stopsignal(word) => {
            vec![word]
        }
        InstructionKind::Copy(copy) | InstructionKind::Add(copy) => {
            let flags = [copy.chown.as_ref(), copy.chmod.as_ref()];
            copies::paths(&copy.sources)
                .chain([&copy.destination])
                .chain(flags.into_iter().flatten())
                .collect()
        }
        _ => Vec::new(),
    }
}
