//! `FILE:LINE:COLUMN: SEVERITY: MESSAGE [RULE]`, which compilers write and editors jump by.

use super::{Region, Report, name};

pub(super) fn emit(report: &Report<'_>) -> String {
    let line = |finding: &crate::Diagnostic| {
        let start = Region::of(finding).start;
        format!(
            "{}:{}:{}: {}: {} [{}]\n",
            finding.source.name,
            start.line,
            start.column,
            name(finding.severity),
            one_line(&finding.message),
            finding.code,
        )
    };
    report.findings.iter().map(line).collect()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
