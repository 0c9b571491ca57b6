//! Checkstyle's XML, which Jenkins and many editors read.

use super::{Region, Report, xml::escaped};
use crate::Severity;

pub(super) fn emit(report: &Report<'_>) -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<checkstyle version=\"4.3\">\n");
    for (file, findings) in report.by_file() {
        text.push_str(&format!("  <file name=\"{}\">\n", escaped(file)));
        for finding in findings {
            let start = Region::of(finding).start;
            let severity = match finding.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
                Severity::Info | Severity::Style => "info",
            };
            text.push_str(&format!(
                "    <error line=\"{}\" column=\"{}\" severity=\"{severity}\" message=\"{}\" source=\"{}\"/>\n",
                start.line,
                start.column,
                escaped(&finding.message),
                escaped(finding.code),
            ));
        }
        text.push_str("  </file>\n");
    }
    text.push_str("</checkstyle>\n");
    text
}
