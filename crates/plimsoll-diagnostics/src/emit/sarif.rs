//! SARIF 2.1.0 (<https://docs.oasis-open.org/sarif/sarif/v2.1.0/>), for GitHub's code scanning and others.

use serde_json::{Value, json};

use super::{Fingerprints, Region, Report, RuleInfo};
use crate::{Diagnostic, Edit, Fix, Severity};

pub(super) fn emit(report: &Report<'_>) -> String {
    let hidden = report.hidden.iter().map(|hidden| hidden.finding);
    let rules: Vec<&RuleInfo> = report
        .rules
        .iter()
        .filter(|rule| {
            report
                .findings
                .iter()
                .chain(hidden.clone())
                .any(|finding| finding.code == rule.id)
        })
        .collect();
    let mut fingerprints = Fingerprints::default();
    let mut results: Vec<Value> = report
        .findings
        .iter()
        .map(|finding| result(finding, &rules, &mut fingerprints))
        .collect();
    for hidden in &report.hidden {
        let mut value = result(hidden.finding, &rules, &mut fingerprints);
        let mut suppression = json!({ "kind": "inSource" });
        if let Some(reason) = hidden.reason {
            suppression["justification"] = reason.into();
        }
        value["suppressions"] = json!([suppression]);
        results.push(value);
    }
    let notifications: Vec<Value> = report
        .errors
        .iter()
        .map(|error| json!({ "level": "error", "message": { "text": error } }))
        .collect();
    let whole = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "plimsoll",
                "version": report.version,
                "rules": rules.iter().map(|info| rule(info)).collect::<Vec<_>>(),
            } },
            "columnKind": "unicodeCodePoints",
            "invocations": [{
                "executionSuccessful": report.errors.is_empty(),
                "toolExecutionNotifications": notifications,
            }],
            "results": results,
        }],
    });
    format!("{whole:#}\n")
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info | Severity::Style => "note",
    }
}

fn rule(rule: &RuleInfo) -> Value {
    json!({
        "id": rule.id,
        "shortDescription": { "text": rule.summary },
        "help": { "text": rule.page, "markdown": rule.page },
        "defaultConfiguration": { "level": level(rule.severity) },
        "properties": { "tags": rule.aliases },
    })
}

fn result(finding: &Diagnostic, rules: &[&RuleInfo], fingerprints: &mut Fingerprints) -> Value {
    let text = match &finding.help {
        Some(help) => format!("{}\n{help}", finding.message),
        None => finding.message.clone(),
    };
    let mut value = json!({
        "ruleId": finding.code,
        "level": level(finding.severity),
        "message": { "text": text },
        "locations": [location(finding, &Region::of(finding))],
        "partialFingerprints": { "plimsoll/v1": fingerprints.of(finding) },
    });
    if let Some(index) = rules.iter().position(|rule| rule.id == finding.code) {
        value["ruleIndex"] = index.into();
    }
    let others: Vec<Value> = finding
        .labels
        .iter()
        .skip(1)
        .map(|label| {
            let mut other = location(finding, &Region::new(&finding.source, label.span));
            if !label.message.is_empty() {
                other["message"] = json!({ "text": label.message });
            }
            other
        })
        .collect();
    if !others.is_empty() {
        value["relatedLocations"] = others.into();
    }
    if let Some(fix) = finding.fix.as_ref().filter(|fix| !fix.edits.is_empty()) {
        value["fixes"] = json!([self::fix(fix)]);
    }
    value
}

fn location(finding: &Diagnostic, place: &Region) -> Value {
    json!({ "physicalLocation": {
        "artifactLocation": artifact(&finding.source.name),
        "region": region(place),
    } })
}

fn fix(fix: &Fix) -> Value {
    let mut changes: Vec<(&str, Vec<Value>)> = Vec::new();
    for edit in &fix.edits {
        let file = &*edit.source.name;
        match changes.iter_mut().find(|(name, _)| *name == file) {
            Some((_, list)) => list.push(replacement(edit)),
            None => changes.push((file, vec![replacement(edit)])),
        }
    }
    let changes = changes.into_iter().map(
        |(file, replacements)| json!({ "artifactLocation": artifact(file), "replacements": replacements }),
    );
    json!({ "description": { "text": fix.title }, "artifactChanges": changes.collect::<Vec<_>>() })
}

fn replacement(edit: &Edit) -> Value {
    json!({
        "deletedRegion": region(&Region::new(&edit.source, edit.span)),
        "insertedContent": { "text": edit.text },
    })
}

fn region(region: &Region) -> Value {
    json!({
        "startLine": region.start.line,
        "startColumn": region.start.column,
        "endLine": region.end.line,
        "endColumn": region.end.column,
    })
}

/// A path as a relative URI; what could be taken for a scheme, a query or a fragment is escaped.
fn artifact(path: &str) -> Value {
    let mut uri = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z'
            | b'A'..=b'Z'
            | b'0'..=b'9'
            | b'-'
            | b'.'
            | b'_'
            | b'~'
            | b'/'
            | b'@'
            | b'+'
            | b',' => {
                uri.push(char::from(byte));
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    json!({ "uri": uri })
}
