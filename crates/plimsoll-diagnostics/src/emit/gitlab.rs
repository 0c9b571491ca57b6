//! GitLab's code quality report: a part of Code Climate's form
//! (<https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format>).

use serde_json::{Value, json};

use super::{Fingerprints, Region, Report};
use crate::{Diagnostic, Severity};

pub(super) fn emit(report: &Report<'_>) -> String {
    let mut fingerprints = Fingerprints::default();
    let list: Vec<Value> = report
        .findings
        .iter()
        .map(|finding| issue(finding, &fingerprints.of(finding)))
        .collect();
    format!("{:#}\n", Value::from(list))
}

fn issue(finding: &Diagnostic, fingerprint: &str) -> Value {
    let severity = match finding.severity {
        Severity::Error => "critical",
        Severity::Warning => "major",
        Severity::Info => "minor",
        Severity::Style => "info",
    };
    let region = Region::of(finding);
    json!({
        "type": "issue",
        "check_name": finding.code,
        "description": finding.message,
        "fingerprint": fingerprint,
        "severity": severity,
        "location": {
            "path": finding.source.name.as_ref(),
            "lines": { "begin": region.start.line, "end": region.end.line },
        },
    })
}
