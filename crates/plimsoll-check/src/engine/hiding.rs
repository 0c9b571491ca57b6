//! What comments hide, and which of them hide nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use plimsoll_diagnostics::{Diagnostic, Fix, Severity, Source, Span, nearest};

use super::{Outcome, Suppressed};
use crate::config::Config;
use crate::finding::{Checker, Finding};
use crate::rules;
use crate::suppress::{Comments, Dialect, Suppression, is_build_check, of_yaml};
use crate::view::Workspace;

/// A file, what its comments say, and which of their ids have hidden something.
struct Told {
    source: Source,
    comments: Comments,
    used: Vec<Vec<bool>>,
}

impl Told {
    fn new(source: &Source, comments: Comments) -> Self {
        let used = comments.suppressions.iter().map(|one| vec![false; one.ids.len()]);
        Self {
            source: source.clone(),
            used: used.collect(),
            comments,
        }
    }
}

/// Takes out what comments hide, and adds what is to be said about the comments.
pub(super) fn hide(found: Vec<Diagnostic>, workspace: &Workspace, config: &Config) -> Outcome {
    let mut files = files(workspace);
    let mut outcome = Outcome::default();
    for mut finding in found {
        let told = files.get_mut(&finding.source.name);
        let hidden = told.and_then(|told| {
            if told.comments.strict && is_build_check(&finding) {
                finding.severity = Severity::Error;
            }
            hidden_by(told, &finding, config)
        });
        match hidden {
            Some(reason) => outcome.suppressed.push(Suppressed { finding, reason }),
            None => outcome.findings.push(finding),
        }
    }
    let mut checker = Checker::new(workspace, config);
    for told in files.values() {
        judge(told, config, &mut checker);
    }
    let mut own = checker.finish().findings;
    own.retain_mut(|finding| config.adjust(finding));
    outcome.findings.extend(own);
    outcome.findings.sort_by(compare);
    // Files that are part of several projects are looked at with each.
    outcome
        .findings
        .dedup_by(|one, other| compare(one, other).is_eq());
    // A file that others add to is part of several projects.
    outcome
        .findings
        .dedup_by(|one, other| compare(one, other).is_eq());
    outcome
        .suppressed
        .sort_by(|one, other| compare(&one.finding, &other.finding));
    outcome
}

fn compare(one: &Diagnostic, other: &Diagnostic) -> std::cmp::Ordering {
    let key = |finding: &Diagnostic| finding.span().unwrap_or_default();
    (&one.source.name, key(one).start, key(one).end, one.code)
        .cmp(&(&other.source.name, key(other).start, key(other).end, other.code))
        .then_with(|| one.message.cmp(&other.message))
}

fn files(workspace: &Workspace) -> HashMap<Arc<str>, Told> {
    let mut files = HashMap::new();
    let mut add = |source: &Source, comments: Comments| {
        if comments.strict || !comments.suppressions.is_empty() {
            files.insert(source.name.clone(), Told::new(source, comments));
        }
    };
    for view in &workspace.dockerfiles {
        add(&view.source, view.comments().clone());
    }
    for ignore in workspace.contexts.iter().filter_map(|view| view.ignore.as_ref()) {
        add(&ignore.source, crate::suppress::of_ignore_file(&ignore.source));
    }
    for source in workspace.projects.iter().flat_map(|view| &view.sources) {
        add(source, of_yaml(source));
    }
    files
}

/// `Some` with the reason when a comment hides the finding. Every comment that would is a used one.
fn hidden_by(told: &mut Told, finding: &Diagnostic, config: &Config) -> Option<Option<String>> {
    if config.no_suppressions {
        return None;
    }
    let mut hidden = None;
    for (suppression, used) in told.comments.suppressions.iter().zip(&mut told.used) {
        if !suppression.holds_on(config.today.as_deref()) {
            continue;
        }
        if let Some(id) = suppression.hides(finding) {
            used[id] = true;
            hidden.get_or_insert_with(|| suppression.reason.clone());
        }
    }
    hidden
}

/// Says which comments have ended, name no rule, hide nothing, or are there at all.
fn judge(told: &Told, config: &Config, checker: &mut Checker<'_>) {
    for (suppression, used) in told.comments.suppressions.iter().zip(&told.used) {
        let finding = |span, message: String| Finding::new(&told.source, span, message);
        checker.now_if_wanted("suppression-present", |checker| {
            let message = "a comment hides findings".to_owned();
            checker.report(finding(suppression.span, message));
        });
        if let Some(until) = suppression
            .until
            .as_ref()
            .filter(|_| !suppression.holds_on(config.today.as_deref()))
        {
            checker.now_if_wanted("suppression-ended", |checker| {
                let message = format!("this was to be ignored until {} only", until.value);
                checker
                    .report(finding(until.span, message).help("mend what it hides, or give it a new date"));
            });
            continue;
        }
        for (id, _) in suppression.ids.iter().zip(used).filter(|(_, used)| !**used) {
            let unknown = rules::named(&id.value).is_empty() && !id.value.eq_ignore_ascii_case("all");
            if unknown && suppression.dialect == Dialect::Own {
                checker.now_if_wanted("suppression-unknown", |checker| {
                    let message = format!("no rule is called `{}`", id.value);
                    checker.report(with_suggestion(finding(id.span, message), &told.source, id));
                });
            } else if suppression.is_wanted(&id.value, |rule| config.wants(rule)) && !config.no_suppressions {
                checker.now_if_wanted("suppression-unused", |checker| {
                    let message = format!("nothing is hidden by `{}`", id.value);
                    checker.report(finding(id.span, message).fix(removal(told, suppression, used)));
                });
            }
        }
    }
}

fn with_suggestion(finding: Finding, source: &Source, id: &plimsoll_dockerfile::Word) -> Finding {
    match nearest(&id.value, rules::all().map(|rule| rule.id)) {
        Some(near) => finding
            .help(format!("did you mean `{near}`?"))
            .fix(Fix::safe(format!("write `{near}`")).replace(source, id.span, near)),
        None => finding,
    }
}

/// Takes the ids out that hide nothing; with the last of them the comment, and with it its line.
fn removal(told: &Told, suppression: &Suppression, used: &[bool]) -> Fix {
    let source = &told.source;
    let kept: BTreeMap<usize, &str> = suppression
        .ids
        .iter()
        .zip(used)
        .filter(|(id, used)| **used || rules::named(&id.value).is_empty())
        .map(|(id, _)| (id.span.start, id.value.as_str()))
        .collect();
    let fix = Fix::safe("remove what hides nothing");
    let directive = told.comments.strict && suppression.dialect == Dialect::BuildKit;
    if let (false, [first, .., last] | [first @ last]) = (kept.is_empty(), suppression.ids.as_slice()) {
        let ids: Vec<&str> = kept.into_values().collect();
        return fix.replace(source, first.span.join(last.span), ids.join(","));
    }
    if directive {
        // `error=true` stays.
        return Fix::shown("remove what hides nothing");
    }
    let line = source.line_at(suppression.span.start);
    let before = source.slice(Span::new(line.start, suppression.span.start));
    match before.trim().is_empty() {
        true => {
            let next = source.text[line.end..]
                .find('\n')
                .map_or(0, |newline| newline + 1);
            fix.delete(source, Span::new(line.start, line.end + next))
        }
        false => {
            let start = line.start + before.trim_end().len();
            fix.delete(source, Span::new(start, suppression.span.end))
        }
    }
}
