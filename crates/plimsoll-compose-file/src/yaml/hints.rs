//! What is likely meant where a text is not YAML.

use plimsoll_diagnostics::{Source, Span, nearest};

/// The likely fix for what the parser says about the byte `at`.
pub(super) fn likely(source: &Source, at: usize, said: &str) -> String {
    let line = source.slice(source.line_at(at));
    let says = |part: &str| said.contains(part);
    match () {
        () if line.contains('\t') && !line.trim_start_matches(' ').starts_with('#') => {
            "YAML is indented with blanks, never with tabs".to_owned()
        }
        () if says("mapping values are not allowed") => of_colon(source, at),
        () if says("unknown anchor") => of_anchor(source, at),
        () if says("unexpected character") => {
            let letter = source.text[at..].chars().next().unwrap_or_default();
            format!("a value cannot begin with `{letter}`: put it into quotes")
        }
        () if says("escape") => {
            r"in double quotes `\` begins an escape: write `\\`, or put the value into single quotes".to_owned()
        }
        () if says("single-quoted") => {
            "put the whole value into double quotes; in single ones `'` is written twice".to_owned()
        }
        () if says("double-quoted") => {
            "put the whole value into single quotes; in double ones `\"` is written `\\\"`".to_owned()
        }
        () if says("quoted scalar") => match opened(source, at) {
            Some(number) => format!("the quote in line {number} is not closed"),
            None => "a quote above is not closed".to_owned(),
        },
        () if says("expected ',' or") || says("indicator") && says(":") || says("flow") => {
            "a `[` or `{` above is not closed; in them items are divided by commas".to_owned()
        }
        () if says("expected '-'") => {
            "a list ends where a line without `- ` begins: indent it to belong to the item, or give the list a key"
                .to_owned()
        }
        () if says("expected key") => {
            "all keys of a mapping begin in the same column: look at how far this line is indented".to_owned()
        }
        () => "look for a quote, bracket or colon that is missing here or in the line before".to_owned(),
    }
}

/// A colon that divides nothing: after a value in the same line, or below a line that has no blank after its own.
fn of_colon(source: &Source, at: usize) -> String {
    let line = source.line_at(at);
    let before = &source.text[line.start..at];
    if let Some((key, value)) = before.split_once(": ") {
        let rest = source.slice(Span::new(at, line.end)).trim_end();
        let key = key.trim_start().trim_start_matches("- ");
        return format!(
            "put the value into quotes: `{key}: \"{}{rest}\"`",
            value.trim_start()
        );
    }
    let above = source.text[..line.start].lines().rev();
    let above = above
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with('#'));
    match above.and_then(|above| above.split_once(':')) {
        Some((key, value)) if !value.is_empty() && !value.starts_with(' ') => {
            format!("the line above needs a blank after its colon: `{key}: {value}`")
        }
        _ => "look at how far this line and the one above are indented".to_owned(),
    }
}

/// An alias of nothing.
fn of_anchor(source: &Source, at: usize) -> String {
    let name = |text: &str| -> String {
        let ends = |letter: char| letter.is_whitespace() || ",[]{}".contains(letter);
        text.split(ends).next().unwrap_or_default().to_owned()
    };
    let wanted = name(source.text[at..].trim_start_matches('*'));
    let anchors: Vec<String> = source.text.split(" &").skip(1).map(name).collect();
    match nearest(&wanted, anchors.iter().map(String::as_str)) {
        Some(near) if near != wanted => format!("did you mean `*{near}`?"),
        _ => format!(
            "put `&{wanted}` before the value that is meant, above this line; a text with `*` needs quotes"
        ),
    }
}

/// The line above `at` with a quote too many or too few.
fn opened(source: &Source, at: usize) -> Option<usize> {
    let lines: Vec<&str> = source.text[..at].lines().collect();
    let odd = |line: &&str| {
        let count = |quote: char| line.matches(quote).count();
        count('"') % 2 == 1 || count('\'') % 2 == 1
    };
    lines.iter().rposition(odd).map(|at| at + 1)
}
