//! A Dockerfile: parsed, printed, expanded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plimsoll_diagnostics::Source;
use plimsoll_dockerfile::{Dockerfile, expand, expand_heredoc, expand_words};

fuzz_target!(|text: &str| {
    let source = Source::new("Dockerfile", text);
    let parsed = Dockerfile::parse(&source);
    assert_eq!(parsed.dockerfile.to_string(), text);
    for diagnostic in &parsed.diagnostics {
        assert!(!plimsoll_diagnostics::render(diagnostic, false).is_empty());
    }
    for instruction in &parsed.dockerfile.instructions {
        expand_all(&instruction.text, parsed.dockerfile.directives.escape);
        Dockerfile::parse_trigger(&Source::new("ONBUILD", instruction.text.as_str()));
    }
});

fn expand_all(text: &str, escape: char) {
    let lookup = |name: &str| match name.len() {
        1 => Some(String::new()),
        2 => Some("a b*?\\".to_owned()),
        _ => None,
    };
    let expanded = expand(text, escape, &lookup);
    if !text.contains(['$', '"', '\'', escape]) {
        assert_eq!(expanded.expect("there is nothing to expand").text, text);
    }
    let _ = expand_heredoc(text, &lookup);
    let _ = expand_words(text, escape, &lookup);
}
