use insta::assert_snapshot;
use serde_json::Value;
use serde_sarif::sarif::Sarif;

use super::*;
use crate::Fix;

const TEXT: &str = "FROM alpine\nMAINTAINER a, \"b\" & <c>\nRUN é && apt-get install x\n";

fn findings() -> Vec<Diagnostic> {
    let source = Source::new("app/Docker file", TEXT);
    let at = |needle: &str| {
        let start = TEXT.find(needle).unwrap();
        Span::new(start, start + needle.len())
    };
    let mut author = Diagnostic::warning(
        "maintainer-deprecated",
        &source,
        at("MAINTAINER a, \"b\" & <c>"),
        "MAINTAINER, with \"quotes\" & 100%: deprecated",
    )
    .with_help("write a label");
    author.aliases = vec!["DL4000".into()];
    author.url = Some("docs/rules/maintainer-deprecated.md".to_owned());
    author.fix = Some(
        Fix::safe("write a label")
            .replace(&source, at("MAINTAINER a, \"b\" & <c>"), "LABEL x=y")
            .create("app/.dockerignore", ".git\n"),
    );
    let mut install = Diagnostic::new(
        Severity::Info,
        "apt-recommends",
        &source,
        at("install"),
        "too much",
    )
    .with_label(at("alpine"), "on this base");
    install.fix = Some(Fix::ask("less").insert(&source, at("x\n").start, "-y "));
    let image = Source::new("registry:5000/app:1", "");
    let root = Diagnostic::error("user-root", &image, Span::default(), "runs as root\nalways");
    vec![author, install, root]
}

fn rules() -> Vec<RuleInfo> {
    let rule = |id: &'static str, aliases| RuleInfo {
        id,
        severity: Severity::Warning,
        summary: format!("about {id}"),
        page: format!("# {id}\n"),
        aliases,
    };
    vec![
        rule("never-found", &[]),
        rule("maintainer-deprecated", &["DL4000"]),
        rule("apt-recommends", &[]),
        rule("user-root", &[]),
    ]
}

fn emit(format: Format) -> String {
    let findings = findings();
    let (shown, hidden) = findings.split_at(2);
    let files = [
        "app/Docker file".to_owned(),
        "registry:5000/app:1".to_owned(),
        "clean".to_owned(),
    ];
    let report = Report {
        findings: if format == Format::Sarif { shown } else { &findings },
        hidden: match format {
            Format::Sarif => vec![Hidden {
                finding: &hidden[0],
                reason: Some("it must"),
            }],
            _ => Vec::new(),
        },
        errors: &["cannot read `x`: no such file".to_owned()],
        rules: rules(),
        files: &files,
        version: "1.2.3",
    };
    report.emit(format, false)
}

#[test]
fn text() {
    assert_snapshot!(emit(Format::Text));
}

#[test]
fn text_of_nothing() {
    let files = ["Dockerfile".to_owned()];
    let report = Report {
        files: &files,
        ..Report::default()
    };
    assert_snapshot!(report.emit(Format::Text, false), @"1 file checked, nothing found");
}

#[test]
fn json() {
    assert_snapshot!(emit(Format::Json));
}

#[test]
fn sarif() {
    assert_snapshot!(emit(Format::Sarif));
}

#[test]
fn github() {
    assert_snapshot!(emit(Format::Github));
}

#[test]
fn gitlab() {
    assert_snapshot!(emit(Format::Gitlab));
}

#[test]
fn gnu() {
    assert_snapshot!(emit(Format::Gnu));
}

#[test]
fn markdown() {
    assert_snapshot!(emit(Format::Markdown));
}

#[test]
fn checkstyle() {
    assert_snapshot!(emit(Format::Checkstyle));
}

#[test]
fn junit() {
    assert_snapshot!(emit(Format::Junit));
}

/// The types are made of the schema of SARIF 2.1.0: what lacks a required property or has another type is not read,
/// and what the schema does not know is lost on the way.
#[test]
fn sarif_keeps_to_its_schema() {
    let read = |log: &Value| {
        let typed = serde_json::from_value::<Sarif>(log.clone())?;
        serde_json::to_value(typed)
    };
    let log: Value = serde_json::from_str(&emit(Format::Sarif)).unwrap();
    assert_eq!(read(&log).unwrap(), log);
    let mut unknown = log.clone();
    unknown["runs"][0]["results"][0]["colour"] = "red".into();
    assert_ne!(read(&unknown).unwrap(), unknown);
    let mut incomplete = log.clone();
    incomplete["runs"][0]["results"][0]["message"] = Value::Null;
    assert!(read(&incomplete).is_err());
}

/// What types do not hold: enumerations, minimums, and references between the parts.
#[test]
fn sarif_is_consistent() {
    let log: Value = serde_json::from_str(&emit(Format::Sarif)).unwrap();
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    assert!(run["tool"]["driver"]["name"].is_string());
    let levels = ["none", "note", "warning", "error"];
    for rule in rules {
        assert!(rule["id"].is_string() && rule["help"]["markdown"].is_string());
        assert!(rule["shortDescription"]["text"].is_string() && rule["help"]["text"].is_string());
        assert!(levels.contains(&rule["defaultConfiguration"]["level"].as_str().unwrap()));
    }
    let results = run["results"].as_array().unwrap();
    assert_eq!(
        (rules.len(), results.len()),
        (3, 3),
        "only rules that were found are told of"
    );
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
        assert!(levels.contains(&result["level"].as_str().unwrap()));
        assert!(result["message"]["text"].is_string());
        let place = &result["locations"][0]["physicalLocation"];
        let uri = place["artifactLocation"]["uri"].as_str().unwrap();
        assert!(!uri.contains([' ', ':', '"', '#', '?']), "{uri}");
        let number = |key: &str| place["region"][key].as_u64().unwrap();
        assert!(number("startLine") >= 1 && number("startColumn") >= 1);
        assert!((number("endLine"), number("endColumn")) >= (number("startLine"), number("startColumn")));
        for fix in result["fixes"].as_array().into_iter().flatten() {
            let changes = fix["artifactChanges"].as_array().unwrap();
            assert!(!changes.is_empty(), "minItems 1");
            for change in changes {
                assert!(change["artifactLocation"]["uri"].is_string());
                let replacements = change["replacements"].as_array().unwrap();
                assert!(
                    !replacements.is_empty()
                        && replacements.iter().all(|one| one["deletedRegion"].is_object())
                );
            }
        }
    }
    assert_eq!(results[2]["suppressions"][0]["kind"], "inSource");
    assert_eq!(run["invocations"][0]["executionSuccessful"], false);
}

#[test]
fn fingerprints_tell_equal_findings_apart() {
    let findings = findings();
    let mut fingerprints = Fingerprints::default();
    let first = fingerprints.of(&findings[0]);
    assert_ne!(first, fingerprints.of(&findings[0]));
    assert_ne!(first, fingerprints.of(&findings[1]));
    assert_eq!(first, Fingerprints::default().of(&findings[0]));
}

#[test]
fn formats_have_names() {
    for name in Format::NAMES {
        assert!(name.parse::<Format>().is_ok());
    }
    assert!("xml".parse::<Format>().unwrap_err().contains("checkstyle"));
}
