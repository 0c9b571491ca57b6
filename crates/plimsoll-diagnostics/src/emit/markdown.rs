//! A table for a comment on a change.

use super::{Region, Report, name};
use crate::Severity;

pub(super) fn emit(report: &Report<'_>) -> String {
    if report.findings.is_empty() {
        return format!("{} files checked, nothing found\n", report.files.len());
    }
    let counts = [
        Severity::Error,
        Severity::Warning,
        Severity::Info,
        Severity::Style,
    ]
    .map(|severity| (report.count(severity), name(severity)));
    let said: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, name)| format!("{count} {name}"))
        .collect();
    let mut text = format!(
        "**{}**\n\n| where | severity | rule | what |\n| --- | --- | --- | --- |\n",
        said.join(", ")
    );
    for finding in report.findings {
        let start = Region::of(finding).start;
        text.push_str(&format!(
            "| {}:{} | {} | {} | {} |\n",
            cell(&finding.source.name),
            start.line,
            name(finding.severity),
            finding.code,
            cell(&finding.message),
        ));
    }
    text
}

/// Text of one line in which nothing ends the cell or begins a tag.
fn cell(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        match letter {
            '|' | '\\' => out.extend(['\\', letter]),
            '<' => out.push_str("&lt;"),
            '\n' | '\r' => out.push(' '),
            letter => out.push(letter),
        }
    }
    out
}
