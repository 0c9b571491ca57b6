//! Commands of GitHub's workflow runs, one line per finding: `::error file=...,line=...::message`.

use super::{Region, Report};
use crate::{Diagnostic, Severity};

pub(super) fn emit(report: &Report<'_>) -> String {
    let mut text: String = report.findings.iter().map(line).collect();
    for error in report.errors {
        text.push_str(&format!("::error::{}\n", data(error)));
    }
    text
}

fn line(finding: &Diagnostic) -> String {
    let kind = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info | Severity::Style => "notice",
    };
    let region = Region::of(finding);
    let help = finding.help.iter().map(|help| format!("\n{help}"));
    let message = finding.message.clone() + &help.collect::<String>();
    // GitHub takes columns only where a finding stays on one line.
    let columns = match region.start.line == region.end.line {
        true => format!(",col={},endColumn={}", region.start.column, region.end.column),
        false => String::new(),
    };
    format!(
        "::{kind} file={},line={},endLine={}{columns},title={}::{}\n",
        property(&finding.source.name),
        region.start.line,
        region.end.line,
        property(finding.code),
        data(&message),
    )
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
