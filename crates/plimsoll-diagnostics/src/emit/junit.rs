//! JUnit's XML: a suite per file, a failed case per finding, a passed one for a file without any.

use std::collections::BTreeSet;

use super::{Region, Report, name, xml::escaped};
use crate::Diagnostic;

pub(super) fn emit(report: &Report<'_>) -> String {
    let suites = report.by_file();
    let with_findings: BTreeSet<&str> = suites.iter().map(|(file, _)| *file).collect();
    let clean: Vec<&str> = report
        .files
        .iter()
        .map(String::as_str)
        .filter(|file| !with_findings.contains(file))
        .collect();
    let failures = report.findings.len();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"plimsoll check\" tests=\"{}\" failures=\"{failures}\" errors=\"{}\">\n",
        failures + clean.len() + report.errors.len(),
        report.errors.len(),
    );
    for (file, findings) in &suites {
        let cases: String = findings.iter().map(|finding| failure(file, finding)).collect();
        text.push_str(&suite(file, findings.len(), findings.len(), 0, &cases));
    }
    for file in clean {
        let case = format!("    <testcase classname=\"{0}\" name=\"{0}\"/>\n", escaped(file));
        text.push_str(&suite(file, 1, 0, 0, &case));
    }
    for error in report.errors {
        let case = format!(
            "    <testcase classname=\"plimsoll\" name=\"check\">\n      <error message=\"{}\"/>\n    </testcase>\n",
            escaped(error)
        );
        text.push_str(&suite("plimsoll", 1, 0, 1, &case));
    }
    text.push_str("</testsuites>\n");
    text
}

fn suite(file: &str, tests: usize, failures: usize, errors: usize, cases: &str) -> String {
    format!(
        "  <testsuite name=\"{}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\">\n{cases}  </testsuite>\n",
        escaped(file)
    )
}

fn failure(file: &str, finding: &Diagnostic) -> String {
    let start = Region::of(finding).start;
    let place = format!("{file}:{}:{}", start.line, start.column);
    let help = finding.help.as_deref().map(|help| format!("\nhint: {help}"));
    format!(
        "    <testcase classname=\"{}\" name=\"{}\">\n      <failure type=\"{}\" message=\"{}\">{}</failure>\n    </testcase>\n",
        escaped(file),
        escaped(&format!("{} {place}", finding.code)),
        name(finding.severity),
        escaped(&finding.message),
        escaped(&format!(
            "{place}: {}{}",
            finding.message,
            help.unwrap_or_default()
        )),
    )
}
