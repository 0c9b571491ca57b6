//! One JSON object: `findings`, `errors`, `summary`.

use std::borrow::Cow;

use serde::Serialize;

use super::{Region, Report};
use crate::{Diagnostic, Edit, Fix, Safety, Severity, Source, Span};

/// The fields in the order in which they are written; programs read them by these names.
#[derive(Serialize)]
struct Whole<'a> {
    findings: Vec<FindingJson<'a>>,
    errors: &'a [String],
    summary: Summary,
}

#[derive(Serialize)]
struct FindingJson<'a> {
    #[serde(flatten)]
    place: PlaceJson<'a>,
    severity: Severity,
    rule: &'a str,
    aliases: &'a [Cow<'static, str>],
    message: &'a str,
    help: Option<&'a str>,
    url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<FixJson<'a>>,
}

#[derive(Serialize)]
struct FixJson<'a> {
    title: &'a str,
    safety: Safety,
    edits: Vec<EditJson<'a>>,
}

#[derive(Serialize)]
struct EditJson<'a> {
    #[serde(flatten)]
    place: PlaceJson<'a>,
    text: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PlaceJson<'a> {
    file: &'a str,
    line: usize,
    column: usize,
    end_line: usize,
    end_column: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    files: usize,
    error: usize,
    warning: usize,
    info: usize,
    style: usize,
    suppressed: usize,
    fixable: usize,
    unsafe_fixable: usize,
}

pub(super) fn emit(report: &Report<'_>) -> String {
    let whole = Whole {
        findings: report.findings.iter().map(FindingJson::of).collect(),
        errors: report.errors,
        summary: Summary {
            files: report.files.len(),
            error: report.count(Severity::Error),
            warning: report.count(Severity::Warning),
            info: report.count(Severity::Info),
            style: report.count(Severity::Style),
            suppressed: report.hidden.len(),
            fixable: report.fixable(Safety::Safe),
            unsafe_fixable: report.fixable(Safety::Unsafe),
        },
    };
    let mut text = serde_json::to_string_pretty(&whole).expect("texts and numbers are JSON");
    text.push('\n');
    text
}

impl<'a> FindingJson<'a> {
    fn of(finding: &'a Diagnostic) -> Self {
        Self {
            place: PlaceJson::of(&finding.source, finding.span().unwrap_or_default()),
            severity: finding.severity,
            rule: finding.code,
            aliases: &finding.aliases,
            message: &finding.message,
            help: finding.help.as_deref(),
            url: finding.url.as_deref(),
            fix: finding.fix.as_ref().map(FixJson::of),
        }
    }
}

impl<'a> FixJson<'a> {
    fn of(fix: &'a Fix) -> Self {
        let edit = |edit: &'a Edit| EditJson {
            place: PlaceJson::of(&edit.source, edit.span),
            text: &edit.text,
        };
        Self {
            title: &fix.title,
            safety: fix.safety,
            edits: fix.edits.iter().map(edit).collect(),
        }
    }
}

impl<'a> PlaceJson<'a> {
    fn of(source: &'a Source, span: Span) -> Self {
        let region = Region::new(source, span);
        Self {
            file: &source.name,
            line: region.start.line,
            column: region.start.column,
            end_line: region.end.line,
            end_column: region.end.column,
        }
    }
}
