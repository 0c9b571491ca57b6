//! A Dockerfile with its shell text: checked by every rule, shown in every form, mended.
#![no_main]

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use libfuzzer_sys::fuzz_target;
use plimsoll_check::Config;
use plimsoll_check::fix::{Images, mend};
use plimsoll_check::load::Inputs;
use plimsoll_diagnostics::{Format, Report, Safety, Severity, Source};
use plimsoll_dockerfile::Dockerfile;

fuzz_target!(|text: &str| {
    let current = Utf8PathBuf::from("/nowhere");
    let path = current.join("Dockerfile");
    let inputs = Inputs {
        paths: vec!["Dockerfile".to_owned()],
        texts: BTreeMap::from([(path.clone(), text.to_owned())]),
        current,
        ..Inputs::default()
    };
    // Every rule looks, those too that are off.
    let mut config = Config::default();
    for rule in plimsoll_check::rules::all() {
        config
            .set(rule.id, plimsoll_check::config::Level::At(rule.severity))
            .expect("it is a rule");
    }
    let fixed = mend(&inputs, &config, Safety::Unsafe, |_| Images::default());
    for finding in &fixed.outcome.findings {
        let span = finding.span().expect("it has a place");
        assert!(span.start <= span.end && span.end <= finding.source.text.len());
        for edit in finding.fix.iter().flat_map(|fix| &fix.edits) {
            assert_eq!(edit.source.clamp(edit.span), edit.span, "{}", finding.code);
        }
    }
    let report = Report {
        findings: &fixed.outcome.findings,
        ..Report::default()
    };
    for format in Format::NAMES {
        report.emit(format.parse().expect("it is a form"), false);
    }
    if let Some(change) = fixed.files.get(&path) {
        assert!(errors(&change.new) <= errors(text), "{}", change.new);
    }
});

fn errors(text: &str) -> usize {
    let parsed = Dockerfile::parse(&Source::new("Dockerfile", text));
    let errors = parsed
        .diagnostics
        .iter()
        .filter(|one| one.severity == Severity::Error);
    errors.count()
}
