use plimsoll_diagnostics::Source;

use super::*;
use crate::config::Level;
use crate::view::{BuildSettings, DockerfileView};

fn outcome(text: &str, config: &Config) -> Outcome {
    let source = Source::new("Dockerfile", text);
    let workspace = Workspace {
        dockerfiles: vec![DockerfileView::new(
            "Dockerfile",
            &source,
            BuildSettings::default(),
        )],
        ..Workspace::default()
    };
    check(&workspace, config)
}

/// `rule:line` of the findings of these rules.
fn found(text: &str, config: &Config) -> Vec<String> {
    let rules = [
        "maintainer-deprecated",
        "syntax-error",
        "instruction-order",
        "onbuild-forbidden",
    ];
    let outcome = outcome(text, config);
    let wanted =
        |finding: &&Diagnostic| rules.contains(&finding.code) || finding.code.starts_with("suppression");
    let shown = outcome.findings.iter().filter(wanted).map(|finding| {
        let line = finding.source.position(finding.span().unwrap().start).line;
        format!("{}:{line}", finding.code)
    });
    shown.collect()
}

#[test]
fn a_bad_line_is_one_finding_and_the_rest_is_checked() {
    let text = "FROM a\nRUNN x\nMAINTAINER me\nCOPY --form=x a b\n";
    assert_eq!(
        found(text, &Config::default()),
        ["syntax-error:2", "maintainer-deprecated:3", "syntax-error:4"]
    );
    let early = found("RUN true\nFROM a\n", &Config::default());
    assert_eq!(early, ["instruction-order:1"], "the rule that knows more, alone");
    let stored = found("FROM a\nONBUILD FROM b\n", &Config::default());
    assert_eq!(stored, ["onbuild-forbidden:2"]);
}

#[test]
fn comments_hide_what_they_name_and_nothing_else() {
    let hidden = |comment: &str| {
        let text = format!("FROM a\n{comment}\nMAINTAINER me\n");
        found(&text, &Config::default())
    };
    for comment in [
        "# plimsoll ignore=maintainer-deprecated",
        "# hadolint ignore=dl4000",
        "# check=skip=MaintainerDeprecated // why not",
        "# check=skip=all",
        "# hadolint global ignore=DL4000",
    ] {
        assert_eq!(hidden(comment), Vec::<String>::new(), "{comment}");
    }
    assert_eq!(hidden("# hadolint ignore=DL3099"), ["maintainer-deprecated:3"]);
    assert_eq!(
        hidden("# plimsoll ignore=maintainer"),
        ["suppression-unknown:2", "maintainer-deprecated:3"]
    );
    assert_eq!(
        hidden("# plimsoll ignore=compose-privileged,DL4000"),
        ["suppression-unused:2"]
    );
    let outcome = outcome(
        "FROM a\n# plimsoll ignore=DL4000 -- so be it\nMAINTAINER me\n",
        &Config::default(),
    );
    assert_eq!(outcome.suppressed[0].reason.as_deref(), Some("so be it"));
}

#[test]
fn what_hides_nothing_is_taken_out() {
    let fixed = |text: &str| {
        let outcome = outcome(text, &Config::default());
        let finding = outcome
            .findings
            .into_iter()
            .find(|one| one.code == "suppression-unused")
            .unwrap();
        let edit = finding.fix.unwrap().edits.remove(0);
        let mut text = text.to_owned();
        text.replace_range(edit.span.range(), &edit.text);
        text
    };
    assert_eq!(
        fixed("FROM a\n# hadolint ignore=DL4000\nUSER x\n"),
        "FROM a\nUSER x\n"
    );
    assert_eq!(
        fixed("FROM a\n# plimsoll ignore=CL-0002,DL4000 -- y\nMAINTAINER me\n"),
        "FROM a\n# plimsoll ignore=DL4000 -- y\nMAINTAINER me\n"
    );
}

#[test]
fn suppressions_end_and_can_be_forbidden() {
    let text = "FROM a\n# plimsoll ignore=DL4000 until=2026-01-31\nMAINTAINER me\n";
    let mut config = Config {
        today: Some("2026-02-01".to_owned()),
        ..Config::default()
    };
    assert_eq!(
        found(text, &config),
        ["suppression-ended:2", "maintainer-deprecated:3"]
    );
    config.today = Some("2026-01-31".to_owned());
    assert_eq!(found(text, &config), Vec::<String>::new());
    config
        .set("DL1001", Level::At(plimsoll_diagnostics::Severity::Error))
        .unwrap();
    assert_eq!(found(text, &config), ["suppression-present:2"]);
    config.no_suppressions = true;
    assert!(found(text, &config).contains(&"maintainer-deprecated:3".to_owned()));
}

#[test]
fn build_checks_can_be_made_errors_by_the_file() {
    let text = "# check=error=true\nFROM a\nMAINTAINER me\n";
    let outcome = outcome(text, &Config::default());
    let finding = outcome
        .findings
        .iter()
        .find(|one| one.code == "maintainer-deprecated")
        .unwrap();
    assert_eq!(finding.severity, plimsoll_diagnostics::Severity::Error);
    assert_eq!(
        finding.url.as_deref(),
        Some("docs/rules/maintainer-deprecated.md")
    );
}

#[test]
fn many_items_keep_their_order() {
    let items: Vec<usize> = (0..1000).collect();
    assert_eq!(
        parallel(&items, |item| item * 2),
        items.iter().map(|item| item * 2).collect::<Vec<_>>()
    );
}
