//! Every rule over everything.

use plimsoll_diagnostics::Diagnostic;

use crate::config::Config;
use crate::finding::Checker;
use crate::rule::{Check, Rule};
use crate::rules;
use crate::view::Workspace;

/// Runs every rule that is wanted over a workspace.
pub fn check(workspace: &Workspace, config: &Config) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for rule in rules::all().filter(|rule| config.wants(rule)) {
        let mut checker = Checker::new(workspace, config, rule);
        run(rule, workspace, &mut checker);
        found.extend(checker.finish());
    }
    found
}

fn run(rule: &'static Rule, workspace: &Workspace, checker: &mut Checker<'_>) {
    checker.now(rule);
    for check in rule.checks {
        match check {
            Check::Dockerfile(look) => workspace.dockerfiles.iter().for_each(|view| look(view, checker)),
            Check::Context(look) => workspace.contexts.iter().for_each(|view| look(view, checker)),
            Check::Compose(look) => workspace.projects.iter().for_each(|view| look(view, checker)),
            Check::Image(look) => workspace.images.iter().for_each(|facts| look(facts, checker)),
            Check::Cross(look) => look(workspace, checker),
        }
    }
}
