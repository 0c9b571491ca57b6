//! One JSON object: `findings`, `errors`, `summary`.

use serde_json::{Value, json};

use super::{Region, Report, name};
use crate::{Diagnostic, Edit, Fix, Safety, Severity};

pub(super) fn emit(report: &Report<'_>) -> String {
    let findings: Vec<Value> = report.findings.iter().map(finding).collect();
    let fixable = |safety| {
        let fixes = report.findings.iter().filter_map(|finding| finding.fix.as_ref());
        fixes.filter(|fix| fix.safety == safety).count()
    };
    let whole = json!({
        "findings": findings,
        "errors": report.errors,
        "summary": {
            "files": report.files.len(),
            "error": report.count(Severity::Error),
            "warning": report.count(Severity::Warning),
            "info": report.count(Severity::Info),
            "style": report.count(Severity::Style),
            "suppressed": report.hidden.len(),
            "fixable": fixable(Safety::Safe),
            "unsafeFixable": fixable(Safety::Unsafe),
        },
    });
    format!("{whole:#}\n")
}

fn finding(finding: &Diagnostic) -> Value {
    let region = Region::of(finding);
    let mut value = json!({
        "file": finding.source.name.as_ref(),
        "line": region.start.line,
        "column": region.start.column,
        "endLine": region.end.line,
        "endColumn": region.end.column,
        "severity": name(finding.severity),
        "rule": finding.code,
        "aliases": finding.aliases,
        "message": finding.message,
        "help": finding.help,
        "url": finding.url,
    });
    if let Some(fix) = &finding.fix {
        value["fix"] = self::fix(fix);
    }
    value
}

fn fix(fix: &Fix) -> Value {
    let edits: Vec<Value> = fix.edits.iter().map(edit).collect();
    json!({ "title": fix.title, "safety": fix.safety, "edits": edits })
}

fn edit(edit: &Edit) -> Value {
    let region = Region::new(&edit.source, edit.span);
    json!({
        "file": edit.source.name.as_ref(),
        "line": region.start.line,
        "column": region.start.column,
        "endLine": region.end.line,
        "endColumn": region.end.column,
        "text": edit.text,
    })
}
