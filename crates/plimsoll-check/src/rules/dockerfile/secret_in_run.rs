//! A secret is written in an instruction, or a RUN writes one into a layer.
//!
//! ## Why
//! The text of an instruction is in the history, and the file in the layer, for everybody who has the image; a later
//! `rm` takes neither away. Tokens are known by their shape; a variable counts when its name says so and a RUN writes
//! it into a file.
//!
//! ## Bad
//! ```dockerfile
//! FROM node:22
//! ARG GITHUB_TOKEN
//! RUN echo "https://oauth2:${GITHUB_TOKEN}@github.com" > ~/.git-credentials
//! ```
//!
//! ## Good
//! ```dockerfile
//! FROM node:22
//! RUN --mount=type=secret,id=github_token,target=/root/.git-credentials git clone https://github.com/acme/app
//! ```

use plimsoll_diagnostics::{Severity, Span};
use plimsoll_dockerfile::InstructionKind;

use crate::rules::image::look;
use crate::secret::says_secret;
use crate::shell::{ExpansionKind, Redirect, RedirectKind};
use crate::view::DockerfileView;
use crate::{Check, Checker, Finding, Rule};

use super::runs::{Ran, runs};

pub(super) const RULE: Rule = Rule::new("secret-in-run", Severity::Error)
    .aliases(&["CIS-DI-0010", "CIS-4.10", "DS-0031"])
    .checks(&[Check::Dockerfile(check), Check::Image(look::secret_in_run)]);

fn check(view: &DockerfileView, checker: &mut Checker<'_>) {
    for step in view.steps() {
        // Values of ENV and ARG are another rule's.
        if matches!(
            step.effective(),
            InstructionKind::Env(_) | InstructionKind::Arg(_)
        ) {
            continue;
        }
        for found in crate::secret::of_text(view.source.slice(step.span())) {
            let start = step.span().start;
            let span = Span::new(start + found.span.start, start + found.span.end);
            report(
                view,
                checker,
                span,
                format!(
                    "{} stands in the instruction, so it is in the history of the image",
                    found.kind
                ),
            );
        }
    }
    for run in runs(view) {
        for ran in run.commands() {
            written(view, checker, ran);
        }
    }
}

fn report(view: &DockerfileView, checker: &mut Checker<'_>, span: Span, message: String) {
    checker.report(
        Finding::new(&view.source, span, message)
            .help("use `RUN --mount=type=secret`; what was built or pushed with it has to be replaced"),
    );
}

/// A variable that its name says to be secret goes into a file that the layer keeps.
fn written(view: &DockerfileView, checker: &mut Checker<'_>, ran: Ran<'_>) {
    let keeps = |redirect: &Redirect| {
        let written = matches!(redirect.kind, RedirectKind::Write | RedirectKind::Append);
        let target = redirect.target.as_ref().map_or("", |target| target.text.as_str());
        written && !target.starts_with("/dev/") && !ran.of.is_mounted(target)
    };
    let configures = matches!(
        ran.command.program(),
        Some("npm" | "git" | "yarn" | "pip" | "composer")
    ) && ran
        .command
        .args()
        .iter()
        .any(|word| matches!(word.text.as_str(), "config" | "set"));
    if !configures && !ran.command.redirects.iter().any(keeps) {
        return;
    }
    let documents = ran.of.run.heredocs.iter().any(|heredoc| heredoc.expand);
    let secret = ran
        .command
        .args()
        .iter()
        .flat_map(|word| &word.expansions)
        .find_map(|one| match &one.kind {
            ExpansionKind::Variable(name) | ExpansionKind::Changed(name) if says_secret(name) => {
                Some((one.span, name))
            }
            _ => None,
        });
    if let Some((span, name)) = secret.filter(|_| !documents || configures || !ran.command.args().is_empty())
    {
        report(
            view,
            checker,
            span,
            format!("the value of `{name}` is written into a file of the layer"),
        );
    }
}
