//! Every rule over everything; what comments hide is taken out.

mod hiding;
mod masks;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use plimsoll_diagnostics::{Diagnostic, Source, Span};

use crate::config::Config;
use crate::finding::{Checker, Found};
use crate::rule::{Check, Rule};
use crate::view::Workspace;
use crate::{rules, secret};

/// What a check has found.
#[derive(Debug, Default)]
pub struct Outcome {
    /// By file, place and rule.
    pub findings: Vec<Diagnostic>,
    /// What comments hide, with the reason that they give.
    pub suppressed: Vec<Suppressed>,
    /// Secrets, for whoever prints the texts themselves: they are not to be seen.
    pub secrets: Vec<String>,
}

/// A finding that a comment hides.
#[derive(Debug)]
pub struct Suppressed {
    /// The finding.
    pub finding: Diagnostic,
    /// Why, where the comment says so.
    pub reason: Option<String>,
}

/// Runs every rule that is wanted over a workspace.
pub fn check(workspace: &Workspace, config: &Config) -> Outcome {
    let mut found = each(&workspace.dockerfiles, workspace, config, |check| match check {
        Check::Dockerfile(look) => Some(look),
        _ => None,
    });
    found.extend(each(
        &workspace.contexts,
        workspace,
        config,
        |check| match check {
            Check::Context(look) => Some(look),
            _ => None,
        },
    ));
    found.extend(each(
        &workspace.projects,
        workspace,
        config,
        |check| match check {
            Check::Compose(look) => Some(look),
            _ => None,
        },
    ));
    found.extend(each(&workspace.images, workspace, config, |check| match check {
        Check::Image(look) => Some(look),
        _ => None,
    }));
    let whole = std::slice::from_ref(workspace);
    found.extend(each(whole, workspace, config, |check| match check {
        Check::Cross(look) => Some(look),
        _ => None,
    }));
    found.findings.retain_mut(|finding| config.adjust(finding));
    let mut said = BTreeSet::new();
    found.findings.retain(|finding| said.insert(identity(finding)));
    let mut outcome = hiding::hide(found.findings, workspace, config);
    found.secrets.extend(tokens(workspace));
    outcome.mask(&found.secrets);
    outcome
}

/// What is one finding, however many services take a value from an anchor: the rule, the place, and what is said.
fn identity(finding: &Diagnostic) -> (&'static str, String, Option<(usize, usize)>, String) {
    let span = finding.span().map(|span| (span.start, span.end));
    let name = finding.source.name.to_string();
    let mut message = finding.message.clone();
    if let Some(at) = message.find("service `").map(|at| at + "service `".len()) {
        let end = message[at..].find('`').map_or(message.len(), |end| at + end);
        message.replace_range(at..end, "");
    }
    (finding.code, name, span, message)
}

/// Tokens anywhere in the texts, also where no rule looks for them.
fn tokens(workspace: &Workspace) -> Vec<(Source, Span)> {
    let dockerfiles = workspace.dockerfiles.iter().map(|view| &view.source);
    let composes = workspace.projects.iter().flat_map(|view| &view.sources);
    let in_source = |source: &Source| {
        let found = secret::of_text(&source.text).into_iter();
        found
            .map(|secret| (source.clone(), secret.span))
            .collect::<Vec<_>>()
    };
    dockerfiles.chain(composes).flat_map(in_source).collect()
}

/// A function of a rule that looks at one kind of thing.
type Look<T> = fn(&T, &mut Checker<'_>);

/// Runs the functions that look at one kind of thing over all of its kind.
fn each<T: Sync>(
    views: &[T],
    workspace: &Workspace,
    config: &Config,
    kind: impl Fn(Check) -> Option<Look<T>>,
) -> Found {
    let wanted = rules::all().filter(|rule| config.wants(rule));
    let looks: Vec<(&'static Rule, Look<T>)> = wanted
        .flat_map(|rule| rule.checks.iter().map(move |check| (rule, *check)))
        .filter_map(|(rule, check)| Some((rule, kind(check)?)))
        .collect();
    let mut found = Found::default();
    let lists = parallel(views, |view| {
        let mut checker = Checker::new(workspace, config);
        for (rule, look) in &looks {
            checker.now(rule);
            look(view, &mut checker);
        }
        checker.finish()
    });
    lists.into_iter().for_each(|list| found.extend(list));
    found
}

/// Does the same with every item, on all processors; results come in the order of the items.
pub(crate) fn parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    // A thread costs as much as a handful of files, and to ask for their number as much as to check one.
    let worth = items.len() / 8;
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if worth < 2 { worth } else { worth.min(processors()) };
    if threads < 2 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let take = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { return done };
            done.push((index, work(item)));
        }
    };
    let mut results: Vec<(usize, R)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(take)).collect();
        let joined = workers.into_iter().map(std::thread::ScopedJoinHandle::join);
        joined
            .flat_map(|done| done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    results.sort_unstable_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests;
