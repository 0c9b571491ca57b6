//! What `check` prints.

use std::io::{IsTerminal as _, Write as _};

use plimsoll_check::load::Loaded;
use plimsoll_check::{Config, Outcome, pages, rules};
use plimsoll_diagnostics::{Format, Hidden, Report, RuleInfo};
use serde_json::{Value, json};

use crate::command_error::CommandError;
use crate::context::Context;

/// What a check came to.
pub(super) struct Checked {
    outcome: Outcome,
    /// Names of all that was looked at.
    names: Vec<String>,
    /// What could not be looked at.
    pub(super) errors: Vec<String>,
    /// Whether fixes were shown and not made.
    pub(super) pending: bool,
}

impl Checked {
    pub(super) fn new(outcome: Outcome, loaded: &Loaded, errors: Vec<String>) -> Self {
        let images = loaded.workspace.images.iter().map(|image| image.name.clone());
        Self {
            outcome,
            names: loaded.files.iter().cloned().chain(images).collect(),
            errors,
            pending: false,
        }
    }

    pub(super) fn fails(&self, config: &Config) -> bool {
        let mut findings = self.outcome.findings.iter();
        self.pending || findings.any(|finding| config.fails_on(finding.severity))
    }

    pub(super) fn print(&self, format: Format, context: &Context) -> Result<(), CommandError> {
        let hidden = self.outcome.suppressed.iter().map(|suppressed| Hidden {
            finding: &suppressed.finding,
            reason: suppressed.reason.as_deref(),
        });
        let report = Report {
            findings: &self.outcome.findings,
            hidden: hidden.collect(),
            errors: &self.errors,
            rules: match format {
                Format::Sarif => infos(),
                _ => Vec::new(),
            },
            files: &self.names,
            version: env!("CARGO_PKG_VERSION"),
        };
        let color = context.color() && std::io::stdout().is_terminal();
        let nothing = format == Format::Text && self.names.is_empty() && !self.errors.is_empty();
        if !nothing {
            let text = report.emit(format, color);
            context.stdout().write_all(text.as_bytes())?;
        }
        self.print_errors(context);
        Ok(())
    }

    /// What could not be looked at: on standard error, too, where a report has a place for it.
    pub(super) fn print_errors(&self, context: &Context) {
        for error in &self.errors {
            context.report(&CommandError::user(error.clone()));
        }
    }
}

fn infos() -> Vec<RuleInfo> {
    let info = |rule: &'static plimsoll_check::Rule| RuleInfo {
        id: rule.id,
        severity: rule.severity,
        summary: rule.summary().to_owned(),
        page: pages::page(rule),
        aliases: rule.aliases,
    };
    rules::all().map(info).collect()
}

/// All rules, as a table or as JSON.
pub(super) fn rules(format: Format) -> String {
    if format == Format::Json {
        let list: Vec<Value> = rules::all()
            .map(|rule| {
                json!({
                    "rule": rule.id,
                    "severity": rule.severity,
                    "default": rule.default,
                    "aliases": rule.aliases,
                    "summary": rule.summary(),
                    "url": rule.url(),
                })
            })
            .collect();
        return format!("{:#}\n", Value::from(list));
    }
    let width = rules::all().map(|rule| rule.id.len()).max().unwrap_or_default();
    let line = |rule: &'static plimsoll_check::Rule| {
        let severity = serde_json::to_value(rule.severity).unwrap_or_default();
        let off = if rule.default { "" } else { " (off)" };
        format!(
            "{:width$}  {:7}  {}{off}\n",
            rule.id,
            severity.as_str().unwrap_or_default(),
            rule.summary(),
        )
    };
    rules::all().map(line).collect()
}
