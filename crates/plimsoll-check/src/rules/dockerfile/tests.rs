//! Every rule against the examples of its page, against the files in `tests/fixtures/dockerfile`, and its fixes.

use std::path::{Path, PathBuf};

use plimsoll_diagnostics::{Diagnostic, Safety, Severity, Source};
use proptest::prelude::*;

use crate::config::{Config, LabelForm};
use crate::facts::ImageFacts;
use crate::rule::Rule;
use crate::view::{BuildSettings, DockerfileView, Workspace};

use super::RULES;

fn findings(text: &str) -> Vec<Diagnostic> {
    let settings = BuildSettings {
        platform: Some("linux/amd64".to_owned()),
        ..BuildSettings::default()
    };
    let view = DockerfileView::new("Dockerfile", &Source::new("Dockerfile", text), settings);
    let mut foreign = ImageFacts {
        name: "arm64v8/alpine:3.22".to_owned(),
        ..ImageFacts::default()
    };
    foreign.config.os = "linux".to_owned();
    foreign.config.architecture = "arm64".to_owned();
    let workspace = Workspace {
        dockerfiles: vec![view],
        known: vec![foreign],
        ..Workspace::default()
    };
    crate::check(&workspace, &everything()).findings
}

/// Every rule, those too that only look when asked.
fn everything() -> Config {
    let mut config = Config::default();
    for rule in RULES {
        config
            .levels
            .insert(rule.id.to_owned(), crate::config::Level::At(rule.severity));
    }
    let schema = [
        ("org.example.commit", LabelForm::GitHash),
        ("org.example.version", LabelForm::SemVer),
        ("org.example.email", LabelForm::Email),
        ("org.example.owner", LabelForm::Text),
    ];
    config.label_schema = schema.map(|(key, form)| (key.to_owned(), form)).into();
    config.strict_labels = true;
    config.trusted_registries = vec!["docker.io".to_owned(), "*.docker.io".to_owned()];
    config
}

/// The fenced examples below a heading of a rule's page.
fn examples(rule: &Rule, heading: &str) -> Vec<String> {
    let page = rule.page();
    let section = page
        .split("\n## ")
        .find(|section| section.starts_with(heading))
        .unwrap_or_default();
    let fences = section.split("```dockerfile\n").skip(1);
    fences
        .map(|fence| fence.split("```").next().unwrap_or_default().to_owned())
        .collect()
}

fn has(rule: &Rule, text: &str) -> bool {
    findings(text).iter().any(|finding| finding.code == rule.id)
}

#[test]
fn pages_show_what_is_found_and_what_is_not() {
    let mut wrong = Vec::new();
    for rule in RULES.iter().filter(|rule| rule.options.is_empty()) {
        let (bad, good) = (examples(rule, "Bad"), examples(rule, "Good"));
        assert!(
            !bad.is_empty() && !good.is_empty(),
            "the page of `{}` has no examples",
            rule.id
        );
        wrong.extend(
            bad.iter()
                .filter(|text| !has(rule, text))
                .map(|text| format!("{} finds nothing in\n{text}", rule.id)),
        );
        wrong.extend(
            good.iter()
                .filter(|text| has(rule, text))
                .map(|text| format!("{} finds something in\n{text}", rule.id)),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `tests/fixtures/dockerfile/RULE/{bad,good}*.Dockerfile`.
fn fixtures() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/dockerfile");
    let mut files = Vec::new();
    for folder in std::fs::read_dir(root).expect("there are fixtures").flatten() {
        for file in std::fs::read_dir(folder.path())
            .expect("it is a folder")
            .flatten()
        {
            let text = std::fs::read_to_string(file.path()).expect("it is text");
            files.push((file.path(), text));
        }
    }
    files.sort();
    files
}

fn rule_of(path: &Path) -> &'static Rule {
    let folder = path
        .parent()
        .and_then(Path::file_name)
        .and_then(|name| name.to_str());
    let found = RULES.iter().find(|rule| Some(rule.id) == folder);
    found.unwrap_or_else(|| panic!("no rule is called like the folder of {}", path.display()))
}

#[test]
fn fixtures_hold_what_their_names_say() {
    let mut told = String::new();
    for (path, text) in fixtures() {
        let rule = rule_of(&path);
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .expect("it has a name");
        let found = findings(&text);
        let own: Vec<&Diagnostic> = found.iter().filter(|finding| finding.code == rule.id).collect();
        if name.starts_with("good") {
            assert!(own.is_empty(), "{}: {:?}", path.display(), own[0].message);
            continue;
        }
        assert!(!own.is_empty(), "{}: nothing found", path.display());
        told.push_str(&format!("{}/{name}\n", rule.id));
        for finding in own {
            told.push_str(&line(finding));
        }
    }
    insta::assert_snapshot!(told);
}

/// Place, severity, message, help and fix of a finding.
fn line(finding: &Diagnostic) -> String {
    let span = finding.span().expect("it has a place");
    let (start, end) = (
        finding.source.position(span.start),
        finding.source.position(span.end),
    );
    let mut line = format!(
        "  {}:{}-{}:{} {:?} {}: {}\n",
        start.line, start.column, end.line, end.column, finding.severity, finding.code, finding.message
    );
    if let Some(fix) = &finding.fix {
        line.push_str(&format!("    {:?}: {}\n", fix.safety, fix.title));
        for edit in &fix.edits {
            let at = edit.source.position(edit.span.start);
            let old = edit.source.slice(edit.span);
            line.push_str(&format!(
                "    {}:{} {old:?} -> {:?}\n",
                at.line, at.column, edit.text
            ));
        }
    }
    line
}

/// Applies what does not overlap, until nothing is left to do.
fn mend(text: &str, least: Safety, rule: Option<&str>) -> Result<String, String> {
    let mut text = text.to_owned();
    for _ in 0..20 {
        let mut edits: Vec<(usize, usize, String)> = Vec::new();
        for finding in findings(&text)
            .into_iter()
            .filter(|finding| rule.is_none_or(|rule| finding.code == rule))
        {
            let Some(fix) = finding.fix.filter(|fix| fix.safety >= least) else {
                continue;
            };
            let own = fix.edits.iter().all(|edit| &*edit.source.name == "Dockerfile");
            let clashes = fix.edits.iter().any(|edit| {
                edits.iter().any(|(start, end, _)| {
                    edit.span.start < *end && *start < edit.span.end
                        || edit.span.start == *start
                        || (edit.span.is_empty() && edit.span.start == *end)
                })
            });
            if own && !clashes {
                edits.extend(
                    fix.edits
                        .into_iter()
                        .map(|edit| (edit.span.start, edit.span.end, edit.text)),
                );
            }
        }
        if edits.is_empty() {
            return Ok(text);
        }
        edits.sort();
        for (start, end, new) in edits.into_iter().rev() {
            text.replace_range(start..end, &new);
        }
    }
    Err(text)
}

/// The rule, where it stands, and the text of every example and fixture.
fn texts() -> Vec<(&'static Rule, String, String)> {
    let mut texts = Vec::new();
    for rule in RULES {
        let examples = examples(rule, "Bad").into_iter().chain(examples(rule, "Good"));
        texts.extend(examples.map(|text| (*rule, "page".to_owned(), text)));
    }
    for (path, text) in fixtures() {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        texts.push((rule_of(&path), name.to_owned(), text));
    }
    texts
}

fn errors(text: &str) -> Vec<String> {
    let view = DockerfileView::new(
        "Dockerfile",
        &Source::new("Dockerfile", text),
        BuildSettings::default(),
    );
    let bad = view
        .diagnostics
        .iter()
        .filter(|found| found.severity == Severity::Error);
    bad.map(|found| found.message.clone()).collect()
}

#[test]
fn fixes_mend_what_they_say() {
    let mut told = String::new();
    for (rule, name, text) in texts() {
        let mut last = text.clone();
        for safety in [Safety::Safe, Safety::Unsafe] {
            let mended = mend(&text, safety, Some(rule.id));
            let mended = mended.unwrap_or_else(|text| panic!("{} {name}: fixes never end:\n{text}", rule.id));
            if mended != last {
                told.push_str(&format!("=== {} {name} {safety:?}\n{mended}\n", rule.id));
            }
            last = mended;
        }
    }
    insta::assert_snapshot!(told);
}

#[test]
fn fixes_together_come_to_an_end_and_parse() {
    for (rule, name, text) in texts() {
        for safety in [Safety::Safe, Safety::Unsafe] {
            let mended = mend(&text, safety, None);
            let mended = mended.unwrap_or_else(|text| panic!("{} {name}: fixes never end:\n{text}", rule.id));
            assert!(
                errors(&mended).len() <= errors(&text).len(),
                "{} {name}: {:?}\n{mended}",
                rule.id,
                errors(&mended)
            );
        }
    }
}

/// Every Dockerfile of the examples that the project was given; they do not lie in the repository.
#[test]
fn examples_of_the_five_posts() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/examples-seed");
    let Ok(folders) = std::fs::read_dir(&root) else {
        eprintln!("skipped: {} is not there", root.display());
        return;
    };
    let mut files: Vec<PathBuf> = folders
        .flatten()
        .filter_map(|folder| std::fs::read_dir(folder.path()).ok())
        .flat_map(|files| files.flatten().map(|file| file.path()))
        .filter(|path| {
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            name.starts_with("Dockerfile") || name.ends_with(".Dockerfile")
        })
        .collect();
    files.sort();
    let mut told = String::new();
    for path in files {
        let text = std::fs::read_to_string(&path).expect("it is text");
        let name = path.strip_prefix(&root).unwrap_or(&path);
        told.push_str(&format!("{}\n", name.display()));
        let view = DockerfileView::new(
            "Dockerfile",
            &Source::new("Dockerfile", text),
            BuildSettings::default(),
        );
        let workspace = Workspace {
            dockerfiles: vec![view],
            ..Workspace::default()
        };
        for finding in crate::check(&workspace, &Config::default()).findings {
            told.push_str(&line(&finding));
        }
    }
    insta::assert_snapshot!(told);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever is pasted together, nothing panics, edits lie within the text, and fixes come to an end.
    #[test]
    fn any_text_is_checked_and_mended(
        picks in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..4),
        odd in "[ \\n\\\\$\"'é#&|;(){}`<>=-]{0,6}",
    ) {
        let all = texts();
        let mut text = String::new();
        for (which, cut) in picks {
            let piece = &all[which.index(all.len())].2;
            let cut = piece.char_indices().map(|(at, _)| at).nth(cut.index(piece.chars().count().max(1)));
            text.push_str(&piece[..cut.unwrap_or_default()]);
            text.push_str(&odd);
        }
        for finding in findings(&text) {
            let places = finding.fix.iter().flat_map(|fix| &fix.edits).map(|edit| edit.span);
            for span in places.chain(finding.labels.iter().map(|label| label.span)) {
                prop_assert!(text.get(span.range()).is_some(), "{}: {span:?} in {text:?}", finding.code);
            }
        }
        for safety in [Safety::Safe, Safety::Unsafe] {
            let mended = mend(&text, safety, None);
            prop_assert!(mended.is_ok(), "fixes never end: {text:?}\n{}", mended.unwrap_err());
        }
    }
}
